"""Killed at every step, once before and once after each of its effects, a run comes to the very same model.

The coordinator is killed like by `kill -9`: whatever it was doing ends there, and a new process opens the same home.
Each place kills once in a run, so one run is killed some hundred times, and goes on each time where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from federation_world import TASK, Meddler, federation, opened, phases, rounds, spent, train, training
from flwr.app import Context, Error, Message

from clients.app import app as client_app
from clients.firm import close_firms
from clients.kept_reply import KeptReply
from clients.kept_sums import KeptSums
from clients.masking.answer_book import AnswerBook
from clients.messages import HELLO, REQUESTS, TRAIN, WITNESS, unpack
from clients.plan import Plan
from clients.privacy import add
from clients.round_secrets import RoundSecrets
from clients.wallet import Wallet
from ledger.log import Log
from ledger.statement import decode_statement
from server.artifacts import ArtifactStore
from server.audit import audit_all
from server.coordinator import Coordinator
from server.progress import progress_of
from server.round_journal import RoundJournal

CRASHED = 8  # Flower's code for a ClientApp whose process has ended


class Killed(BaseException):
    """The process ends here."""


class Places:
    """The places where a process is killed, each the first time that it comes by."""

    def __init__(self) -> None:
        self.killed: list[str] = []

    def passes(self, name: str) -> None:
        if name not in self.killed:
            self.killed.append(name)
            raise Killed(name)

    def around(self, patch: pytest.MonkeyPatch, owner: type, method: str, name: Callable[..., str]) -> None:
        """Be killed before and after each call of a method; `name` tells calls apart."""
        original = getattr(owner, method)

        def call(self_: Any, *terms: Any, **more: Any) -> Any:
            terms = tuple(list(one) if isinstance(one, Generator) else one for one in terms)
            where = name(*terms, **more)
            self.passes(f"before {where}")
            result = original(self_, *terms, **more)
            self.passes(f"after {where}")
            return result

        patch.setattr(owner, method, call)


def appended(statements: Any) -> str:
    read = decode_statement(statements[0])
    return f"append of {read.payload['t']} by {read.issuer}"


@contextmanager
def coordinator_places(places: Places) -> Iterator[Meddler]:
    """Every effect of the coordinator: on its journal, its ledger, its store, and on the firms."""
    with pytest.MonkeyPatch.context() as patch:
        places.around(patch, Log, "append", appended)
        places.around(patch, ArtifactStore, "put_all", lambda contents: f"storing {len(contents)}")
        places.around(patch, RoundJournal, "begin", lambda rounds: "beginning")
        places.around(patch, RoundJournal, "have_keys", lambda *_: "journal of keys")
        places.around(patch, RoundJournal, "open", lambda *_: "journal of the round")
        places.around(patch, RoundJournal, "take", lambda round_id, step, member, content: f"journal {step} {member}")
        places.around(patch, RoundJournal, "end_round", lambda *_: "journal of the round's end")
        places.around(patch, RoundJournal, "at", lambda step, **_: f"journal at {step}")

        def before(kind: str, member: str, message: Message) -> None:
            if kind not in (HELLO, WITNESS) or member == "firm-2":
                places.passes(f"before {kind} of {member}")

        def after(kind: str, member: str, message: Message, reply: Message) -> None:
            if kind not in (HELLO, WITNESS) or member == "firm-2":
                places.passes(f"after {kind} of {member}")

        yield Meddler(before, after)


def plan_at(coordinator: Coordinator, index: int) -> Plan:
    return Plan.from_map(decode_statement(coordinator.log.entries(index, index + 1)[0]).payload["plan"])


def price(coordinator: Coordinator, count: int) -> tuple[int, ...]:
    return add([plan_at(coordinator, rounds(coordinator)[0].index).round_rdp()] * count)


def once_each(coordinator: Coordinator) -> bool:
    """Whether no firm has contributed to a round twice, and no model was made of another than the one before."""
    statements = [decode_statement(raw) for raw in coordinator.log.entries(0, coordinator.log.size)]
    sent = Counter((one.payload["round"], one.issuer) for one in statements if one.payload["t"] == "contribution")
    return set(sent.values()) <= {1}


def test_killed_before_and_after_every_effect_the_model_is_the_same(tmp_path: Path) -> None:
    config = training(2)
    undisturbed, built = (federation(tmp_path / name, 3, config) for name in ("calm", "killed"))
    with opened(undisturbed) as coordinator:
        expected = train(undisturbed, coordinator).model
    places, models = Places(), []
    with coordinator_places(places) as meddler:
        while not models:
            assert len(places.killed) < 300
            with suppress(Killed), Coordinator(built.coordinator) as coordinator:
                models.append(train(built, coordinator, app=meddler).model)
    with opened(built) as coordinator:
        assert phases(coordinator) == ["aggregated", "published"]
    assert models == [expected]
    assert len(places.killed) > 60
    with opened(built) as coordinator:
        assert phases(coordinator) == ["aggregated", "published"]
        assert once_each(coordinator)
        for firm in built.firms:
            assert spent(built, firm) == coordinator.log.state.spent.get((firm, TASK)) == price(coordinator, 2)
        found = progress_of(coordinator.store, TASK)
        assert found is not None
        assert found.failures == ()
    assert audit_all(built.coordinator).ok


FIRM_PLACES: list[tuple[type, str]] = [
    (Wallet, "reserve_once"),
    (Wallet, "settle"),
    (AnswerBook, "enter"),
    (RoundSecrets, "keep_round"),
    (KeptReply, "keep"),
    (AnswerBook, "answer"),
]
"""What a firm does to its disk in a round, in this order."""
REFUSED = {"after settle": "lost", "after enter": "lost", "after keep_round": "round"}
"""Where a firm has paid and its reply is not kept yet, and the code with which it refuses. Killed before, it trains
again, and what it had set aside pays; killed after, it repeats its reply."""


STREAM_PLACES: list[tuple[int, type, str]] = [
    (1, KeptSums, "keep"),
    (1, Wallet, "settle"),
    (2, Wallet, "reserve_once"),
    (2, KeptReply, "keep"),
    (2, KeptSums, "destroy"),
]
"""The same in a row of three with correlated noise: sums are kept before the row is paid for, and go after the last."""


class DyingFirm:
    """The firms' app; the process of one firm is killed at a place, once: what it had in memory is gone."""

    def __init__(self, firm: str, where: str, row: int = 0) -> None:
        self._firm = firm
        self._where = where
        self._row = row
        self._asked = set[bytes]()
        self._at_work = False
        self.killed = 0

    def passes(self, name: str) -> None:
        if self._at_work and name == self._where and not self.killed:
            self.killed += 1
            raise Killed(name)

    def __call__(self, message: Message, context: Context) -> Message:
        is_it = Path(str(context.node_config["home"])).name == self._firm
        if is_it and message.metadata.message_type == TRAIN:
            self._asked.add(bytes(unpack(message.content, REQUESTS[TRAIN], "request")["statement"]))
        self._at_work = is_it and len(self._asked) == self._row + 1
        try:
            return client_app(message, context)
        except Killed:
            close_firms()
            return Message(Error(code=CRASHED, reason="its process ended"), reply_to=message)
        finally:
            self._at_work = False


def test_a_firm_that_is_killed_at_any_step_pays_once_or_says_that_its_update_is_lost(tmp_path: Path) -> None:
    """One run of one round for each place; firm-2 is killed there, and asked again when it is back."""
    built = federation(tmp_path / "f", 3, training(1), limits={"epsilon": 200.0})
    paid = 0
    with opened(built) as coordinator:
        for owner, method in FIRM_PLACES:  # before one of them is after the one before
            where = f"after {method}"
            firm, places = DyingFirm("firm-2", where), Places()
            places.passes = firm.passes  # type: ignore[method-assign]
            with pytest.MonkeyPatch.context() as patch:
                places.around(patch, owner, method, lambda *_, name=method, **__: name)
                train(built, coordinator, app=firm)  # type: ignore[arg-type]
            assert firm.killed == 1, where
            paid += 1 + (where in REFUSED)  # a round that is given up for it is paid by all
            assert phases(coordinator)[-1] == "published"
            found = progress_of(coordinator.store, TASK)
            assert found is not None
            said = [(one.member, one.code) for one in found.refusals]
            assert said == ([("firm-2", REFUSED[where])] if where in REFUSED else []), where
            for name in built.firms:
                assert spent(built, name) == price(coordinator, paid), (name, where)
            assert once_each(coordinator)
        with Wallet(built.member("firm-2") / "wallet.sqlite") as wallet:
            assert wallet.open_reservations() == ()
    assert audit_all(built.coordinator).ok


def test_a_firm_that_is_killed_in_a_row_of_correlated_noise_loses_the_stream_only_with_what_it_has_paid_for(
    tmp_path: Path,
) -> None:
    """One run for each place; what is paid for and lost voids the row for all, and a new stream begins with it."""
    built = federation(tmp_path / "f", 3, training(3, bands=2), limits={"epsilon": 400.0})
    with opened(built) as coordinator:
        for row, owner, method in STREAM_PLACES:
            where, before = f"after {method}", len(rounds(coordinator))
            firm, places = DyingFirm("firm-2", where, row), Places()
            places.passes = firm.passes  # type: ignore[method-assign]
            with pytest.MonkeyPatch.context() as patch:
                places.around(patch, owner, method, lambda *_, name=method, **__: name)
                train(built, coordinator, app=firm)  # type: ignore[arg-type]
            assert firm.killed == 1, where
            made = [plan_at(coordinator, one.index) for one in rounds(coordinator)[before:]]
            found = progress_of(coordinator.store, TASK)
            assert found is not None
            said = [(one.member, one.code) for one in found.refusals]
            if where in REFUSED:
                assert said == [("firm-2", REFUSED[where])]
                assert [(plan.number, plan.stream_from) for plan in made] == [(1, 1), (2, 1), (2, 2), (3, 2)]
            else:
                assert (said, [plan.row for plan in made]) == ([], [0, 1, 2]), where
            assert not list(built.home.rglob("sums-*")), where
        cost = add([plan_at(coordinator, one.index).round_rdp() for one in rounds(coordinator)])
        for name in built.firms:
            assert spent(built, name) == cost, name
        with Wallet(built.member("firm-2") / "wallet.sqlite") as wallet:
            assert wallet.open_reservations() == ()
    assert audit_all(built.coordinator).ok
