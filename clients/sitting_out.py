"""A firm sits out: for some time it answers for a task, or for all of them, that it takes no part, and spends nothing.

`sitting-out.json` in the home, read with every message: it holds from the next one on. The firm goes on as a witness,
and helps to open the sum of a round that it has contributed to already, which would be lost for the others.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from clients.errors import ClientError
from clients.locked_file import changing
from clients.training_hours import require_hours
from ledger.whole_file import write_whole

if TYPE_CHECKING:
    from clients.firm import Firm

FILE = "sitting-out.json"
ALL = "*"
"""Stands for every task."""
_MOST_REASON = 200


class SittingOut(ClientError):
    """The firm takes no part for now, by its operator's word. Nothing was read, computed or spent."""

    exit_code = 1


class PauseInvalid(ClientError):
    """A pause that cannot be, or a file of pauses that cannot be read; says what to do."""


@dataclass(frozen=True)
class Pause:
    """One task's pause, or that of all.

    Attributes:
        since_s: seconds since 1970.
        until_s: the moment from which the firm takes part again; None until it says so.
        reason: for the firm's own operators.
        told: whether the coordinator is told the reason.
    """

    since_s: float
    until_s: float | None = None
    reason: str = ""
    told: bool = False

    def is_over(self, now_s: float) -> bool:
        """Whether its time is up."""
        return self.until_s is not None and now_s >= self.until_s


_PAUSES = TypeAdapter(dict[str, Pause])


def pauses(home: Path) -> dict[str, Pause]:
    """The firm's pauses by task, those included that are over; empty where there are none.

    Raises:
        PauseInvalid: the file is not what was written; the firm takes part in nothing until it is mended.
    """
    try:
        return _PAUSES.validate_json((home / FILE).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError):
        raise PauseInvalid(f"{home / FILE}: cannot be read; give artesian firm resume, and pause again") from None


def sit_out(home: Path, task: str, pause: Pause) -> None:
    """Take no part in a task, or in any (`ALL`), from the next message on.

    Raises:
        PauseInvalid: the reason is not one line of at most 200 characters, or the pause would be over already.
    """
    if len(pause.reason) > _MOST_REASON or not pause.reason.isprintable():
        raise PauseInvalid(f"reason: write one line of at most {_MOST_REASON} characters")
    if pause.is_over(pause.since_s):
        raise PauseInvalid("until: that is over already; give a later day")
    with changing(home / FILE):
        _write(home, {**pauses(home), task: pause})


def take_part(home: Path, task: str) -> bool:
    """Take part in a task again, or with `ALL` in every one; returns whether there was a pause.

    Raises:
        PauseInvalid: there is a pause of all tasks, and one alone is asked for.
    """
    with changing(home / FILE):
        if task == ALL:
            there = (home / FILE).exists()
            _write(home, {})
            return there
        known = pauses(home)
        if ALL in known:
            raise PauseInvalid(f"{task}: all tasks are paused; resume them all, or pause the others one by one first")
        if task in known:
            _write(home, {name: pause for name, pause in known.items() if name != task})
        return task in known


def pause_of(known: Mapping[str, Pause], task: str, now_s: float) -> Pause | None:
    """The pause that holds for a task now; None where the firm takes part."""
    found = (known[name] for name in (ALL, task) if name in known)
    return next((one for one in found if not one.is_over(now_s)), None)


def require_taking_part(firm: Firm, task: str) -> None:
    """Insist that the firm does not sit out of a task, and trains at this hour.

    Raises:
        SittingOut: it does; says until when, and why if the firm lets that be told.
        OutOfHours: `firm.toml` says when it trains, and it is not now.
        PauseInvalid: nobody knows, so it does.
    """
    if firm.in_memory:
        return
    require_hours(firm)
    pause = pause_of(pauses(firm.home), task, firm.now())
    if pause is None:
        return
    until = "until it resumes" if pause.until_s is None else f"until {moment(pause.until_s)}"
    why = f": {pause.reason}" if pause.told and pause.reason else ""
    raise SittingOut(f"{firm.member} sits out of {task} {until}{why}")


def moment(at_s: float) -> str:
    """A moment in UTC, to the minute."""
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _write(home: Path, known: Mapping[str, Pause]) -> None:
    text = json.dumps({name: asdict(pause) for name, pause in sorted(known.items())}, indent=2, ensure_ascii=False)
    write_whole(home / FILE, f"{text}\n")
