"""`artesian ledger witness`: a member's process that mirrors the ledger, replays its rules and cosigns."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, tell, write
from ledger.commands.connecting import Address, Authority, address_of, connected
from ledger.commands.places import OwnHome, reading
from ledger.commands.policies import is_behind, keep_policies, say_not_kept
from ledger.commands.speaking import speaker
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.founding import Founding
    from ledger.homes import Settings
    from ledger.keys import SigningKey
    from ledger.note import Vkey
    from ledger.service.client import LedgerClient
    from ledger.service.following import News
    from ledger.witness import Witness

_BEHIND = "policy.txt keeps the members of before: newer members or keys are on the ledger, and not final yet."


def witness(
    home: OwnHome,
    address: Address = "",
    founding: Annotated[str, typer.Option(help="The founding fingerprint, as the founder told it; needed once.")] = "",
    ca: Authority = None,
    member: Annotated[str, typer.Option("--member", help="The member's id; default: as the home says.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Catch up, cosign once, and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mirror the ledger, replay its rules, and cosign what holds, until SIGTERM or SIGINT.

    The first start compares the founding fingerprint and remembers it with the address in `ledger.toml`.
    """
    from ledger.homes import MIRROR
    from ledger.witness import Witness

    with answering(as_json):
        name, key = speaker(home, member)
        known = _known(home, name, key, address_of(home, address), founding, ca)
        with connected(known.address, home, ca, (name, key), known.origin) as client:
            log = _log(home / MIRROR, client, known)
            with Witness(home / MIRROR, key, name, log, known.cid, founding=known.founding) as kept:
                if once:
                    _once(kept, client, known, home, as_json)
                else:
                    _keep(kept, client, known, home)
                    answer({"ok": True, "member": name, "origin": known.origin, "size": kept.size}, [], as_json)


def _once(kept: Witness, client: LedgerClient, known: Settings, home: Path, as_json: bool) -> None:
    from ledger.checkpoint import SignedCheckpoint

    line = kept.follow(client)
    client.cosign([line], kept.size)
    _remember(home, known)
    note = client.final()
    if note is not None and SignedCheckpoint.parse(note).checkpoint.size <= kept.size:
        kept.mirror.learn(note)
    kept.mirror.learn_from(client)
    final = kept.mirror.final_size >= kept.size  # as the mirror has checked it, not as the service says
    facts = {"ok": True, "member": kept.member, "origin": known.origin, "size": kept.size, "final": final}
    standing = "it is final" if final else "it is not final yet"
    words = [f"{kept.member} cosigned {kept.size} entries of {known.origin}; {standing}."]
    if not _keep_policy(kept, home):
        words.append(_BEHIND)
    answer(facts, words, as_json)


def _keep_policy(kept: Witness, home: Path) -> bool:
    """Write down the policy of the members that are final; False if newer ones are mirrored, and not final yet."""
    mirror = kept.mirror
    try:
        keep_policies(home, mirror.settled, mirror.origin, mirror.state.cid, mirror.entries)
    except LedgerError as error:
        say_not_kept(home, error)
    return not is_behind(mirror.settled_policy, kept.state, mirror.origin)


def _keep(kept: Witness, client: LedgerClient, known: Settings, home: Path) -> None:
    """Witness until told to stop, and say on standard error what is cosigned."""
    from ledger.service.following import keep_witnessing

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_close_when, args=(stop, client), daemon=True).start()
    tell(f"{kept.member} witnesses {known.origin} at {known.address}: {kept.size} entries mirrored")
    if kept.mirror.final_size:
        _keep_policy(kept, home)
    kept.rest()
    cosigned, final, away, current, remembered = kept.size, kept.mirror.final_size, False, True, False

    def on_news(_: News) -> None:
        nonlocal cosigned, final, away, current, remembered
        away = False
        if not remembered:
            _remember(home, known)
            remembered = True
        if kept.size != cosigned:
            cosigned = kept.size
            tell(f"{_now()} {kept.member} cosigned {cosigned} entries")
        if kept.mirror.final_size > final:
            current, before = _keep_policy(kept, home), current
            final = kept.mirror.final_size
            tell(f"{_now()} {final} entries are final")
            if before and not current:
                tell(_BEHIND)

    def on_trouble(error: Exception) -> None:
        nonlocal away
        if not away and not stop.is_set():
            tell(f"{_now()} {error}; trying until it is back")
        away = True

    keep_witnessing(kept, client, stop=stop, on_news=on_news, on_trouble=on_trouble)


def _close_when(stop: threading.Event, client: LedgerClient) -> None:
    """A stream that waits for news ends when its connection is closed, not before."""
    stop.wait()
    client.close()


def _known(home: Path, name: str, key: SigningKey, address: str, founding: str, ca: Path | None) -> Settings:
    """What the home remembers of the ledger, with the address in use. At the first start it is asked for, compared
    and written down.
    """
    from dataclasses import replace

    from ledger.homes import SETTINGS, Settings

    known = Settings.load(home)
    if known.founding and founding and _bare(known.founding) != _bare(founding):
        raise UsageError(f"{home}: remembers another founding, {known.founding}; a home witnesses one ledger")
    if known.founding and known.origin and known.cid:
        changed = replace(known, member=name, address=address)
    else:
        if not founding:
            raise UsageError("give --founding with the fingerprint that the founder told every member")
        origin = _origin(address, home, ca)
        with connected(address, home, ca, (name, key), origin) as client:
            found = _founding(client, origin)
        found.require(founding)
        changed = Settings(name, found.cid, origin, known.database, found.fingerprint, address)
        write(home / SETTINGS, changed.toml().encode(), replace=True, mode=0o600)
    return changed


def _remember(home: Path, known: Settings) -> None:
    """Write down where the ledger has answered: an address that nobody answers at does not take the place of one."""
    from ledger.homes import SETTINGS, Settings

    if known != Settings.load(home):
        write(home / SETTINGS, known.toml().encode(), replace=True, mode=0o600)


def _origin(address: str, home: Path, ca: Path | None) -> str:
    from ledger.checkpoint import SignedCheckpoint

    with connected(address, home, ca) as stranger:
        return SignedCheckpoint.parse(stranger.checkpoint()).checkpoint.origin


def _founding(client: LedgerClient, origin: str) -> Founding:
    from ledger.founding import founding_of
    from ledger.statement import decode_statement

    first = client.entries(0, 1)
    founders = decode_statement(first[0]).payload.get("founders")
    return founding_of(origin, client.entries(0, 1 + founders) if isinstance(founders, int) else first)


def _log(mirror: Path, client: LedgerClient, known: Settings) -> Vkey:
    """The key that the log was founded with: the mirror knows it; before there is one, the compared founding does."""
    from ledger.note import Vkey

    if mirror.exists():
        with reading(str(mirror)) as store:
            return Vkey.parse(store.meta()["vkey"])
    found = _founding(client, known.origin)
    found.require(known.founding)
    return found.log


def _bare(fingerprint: str) -> str:
    return "".join(c for c in fingerprint.lower() if c.isalnum())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
