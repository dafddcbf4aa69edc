"""`artesian ledger handover`: when the sequencer is gone, a quorum lets another one go on from what is final."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, make_folder, read, tell, write
from ledger.commands.copying import copy_of
from ledger.commands.keys import made_key
from ledger.commands.places import OwnHome, reading
from ledger.commands.policies import keep_policies
from ledger.commands.proposing import File, Out, ask, report
from ledger.commands.replaced import replaced_words, successor_of
from ledger.commands.restoring import census_of, lost_words
from ledger.commands.speaking import speaker

if TYPE_CHECKING:
    from ledger.witness import Witness

To = Annotated[Path, typer.Option("--to", help="Home of the new sequencer; made if it is not there.")]
_TRIES, _PAUSE_S = 40, 0.25
Copies = Annotated[list[str], typer.Argument(help="Other members' exported folders or homes.")]


def status(
    home: OwnHome,
    copies: Annotated[list[str] | None, typer.Argument(help="Other members' exported folders or homes.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a member's mirror has and promised; for a sequencer, whether the members have replaced it.

    A sequencer that comes back asks this with the members' copies before it serves: exit 1 if it was replaced.
    """
    with answering(as_json):
        facts = _of_member(home) if _is_members(home, copies or []) else _of_sequencer(home, copies or [])
        answer(facts, facts["words"], as_json)
    if not facts["ok"]:
        raise typer.Exit(1)


def bring_up(copies: Copies, home: OwnHome, as_json: AsJson = False) -> None:
    """Bring this member's mirror to the longest that any copy has, cosign it, and keep the others' cosignatures.

    Then export this member's mirror for the others: when all have done so twice, the base is final everywhere.
    """
    from ledger.handover import bring_up as follow_all

    with answering(as_json), own_witness(home) as witness, ExitStack() as opened:
        follow_all(witness, [opened.enter_context(copy_of(copy)) for copy in copies])
        mirror = witness.mirror
        facts = {"ok": True, "size": mirror.size, "root": mirror.root, "final_size": mirror.final_size}
        words = [f"{witness.member} has {mirror.size} entries, {mirror.final_size} of them final."]
        if mirror.final_size < mirror.size:
            words.append(f"Next: artesian ledger export FOLDER --home {home}, for the others; and theirs to you.")
        answer(facts, words, as_json)


def propose(home: OwnHome, to: To, out: Out, as_json: AsJson = False) -> None:
    """Propose that the log goes on in another home, after all that this member's mirror has."""
    from ledger.handover import propose as propose_handover
    from ledger.homes import LOG_KEY, NEXT_LOG_KEY

    with answering(as_json), own_witness(home) as witness:
        make_folder(to, mode=0o700)
        log, following = (made_key(to / name).public for name in (LOG_KEY, NEXT_LOG_KEY))
        proposal = propose_handover(witness.mirror, log, following=following, ts=int(time.time()))
        write(out, proposal.to_bytes())
        report(proposal, witness.state, out, as_json, group="handover")


def approve(
    proposal: File,
    home: OwnHome,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Promise, and then approve, that the log goes on elsewhere.

    From here on this member's witness cosigns no history without this handover, unless another one proves final.
    """
    from ledger.proposal import Proposal

    with answering(as_json), own_witness(home) as witness:
        asked = Proposal.from_bytes(read(proposal))
        for line in asked.words():
            tell(line)
        if not yes:
            ask(witness.member, as_json)
        approved = witness.approve(asked)
        write(proposal, approved.to_bytes(), replace=True)
        report(approved, witness.state, proposal, as_json, shown=True, group="handover")


def start(
    proposal: File,
    home: OwnHome,
    to: To,
    db: Annotated[str, typer.Option("--db", help="URL of an empty PostgreSQL database; default: a file.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make the new sequencer's ledger from this member's mirror and the approved handover; then `serve` it."""
    from ledger.continuation import continue_log
    from ledger.homes import LEDGER, LOG_KEY, SETTINGS, Settings
    from ledger.keys import SigningKey
    from ledger.note import Vkey
    from ledger.proposal import Proposal

    with answering(as_json), own_witness(home) as witness:
        name, own = speaker(home, witness.member, witness.state)
        statement = Proposal.from_bytes(read(proposal)).statement(witness.state, issuer=name, key=own)
        meta, key = _meta(home), SigningKey.load(to / LOG_KEY)
        founded, cid, origin = Vkey.parse(meta["vkey"]), meta["cid"], meta["origin"]
        place = db or to / LEDGER
        with continue_log(place, witness.mirror, key, statement, founded=founded, cid=cid) as log:
            log.checkpoint()
            keep_policies(to, witness.mirror.settled, origin, cid, witness.mirror.entries)
            size = log.size
        settings = Settings(name, cid, origin, db or LEDGER, meta.get("founding", ""))
        write(to / SETTINGS, settings.toml().encode(), replace=True, mode=0o600)
        census = census_of(str(place))
        facts = {"ok": True, "origin": origin, "size": size, "home": str(to), "bodies": vars(census)}
        words = [
            f"{to} continues {origin} with entry {size - 1}, the handover. Next, in this order:",
            *_after(to),
            *lost_words(census),
        ]
        answer(facts, words, as_json)


def _after(to: Path) -> list[str]:
    """What the new sequencer's operator does after `start`."""
    from ledger.homes import NEXT_LOG_KEY

    return [
        f"1. artesian ledger serve --home {to} --address HOST:PORT",
        "2. Each member: artesian ledger witness --home HOME --address HOST:PORT",
        "3. When a quorum has cosigned the handover, it is final; `serve` renews policy.txt, for verifiers; by hand:",
        f"   artesian ledger policy --home {to} --write",
        f"4. Take {to / NEXT_LOG_KEY} to a safe place: the handover has committed to it as the log's next key.",
        "The log goes over to that key, when it should, while `serve` is stopped:",
        f"   artesian ledger members rotate-log --home {to} --key SAFE/{NEXT_LOG_KEY} --signer COORDINATOR-HOME",
        "or, if the coordinator's key is lost, by a quorum:",
        f"   artesian ledger members propose log-key --home {to} --out log-key.proposal",
    ]


@contextmanager
def own_witness(home: Path) -> Iterator[Witness]:
    """The witness of a member's home, with its mirror.

    Raises:
        UsageError: there is no mirror yet.
    """
    from ledger.homes import MIRROR, Settings
    from ledger.note import Vkey
    from ledger.witness import Witness

    if not (home / MIRROR).is_file():
        raise UsageError(f"{home}: has no mirror yet; run artesian ledger witness first")
    name, key = speaker(home)
    meta = _meta(home)
    open_mirror = partial(
        Witness,
        home / MIRROR,
        key,
        name,
        Vkey.parse(meta["vkey"]),
        meta["cid"],
        founding=Settings.load(home).founding or None,
    )
    with _once_free(open_mirror) as witness:
        yield witness


def _once_free(open_mirror: Callable[[], Witness]) -> Witness:
    """Open the mirror; a running witness of the same member lets it go between two looks at the service."""
    from ledger.errors import StoreError

    for _ in range(_TRIES):
        try:
            return open_mirror()
        except StoreError:
            time.sleep(_PAUSE_S)
    return open_mirror()


def _meta(home: Path) -> dict[str, str]:
    """What the home's mirror is of: cid, origin, and the key that the log was founded with."""
    from ledger.homes import MIRROR

    with reading(str(home / MIRROR)) as store:
        return store.meta()


def _is_members(home: Path, copies: list[str]) -> bool:
    """Whether a home is asked as a member's: one may keep a mirror and a ledger that it sequences, or sequenced."""
    from ledger.homes import MIRROR, database_of, member_of
    from ledger.rules import COORDINATOR

    if not (home / MIRROR).is_file():
        return False
    only_mirror = Path(database_of(home)).name == MIRROR
    return only_mirror or not (copies or member_of(home) == COORDINATOR)


def _of_member(home: Path) -> dict[str, Any]:
    with own_witness(home) as witness:
        mirror, promise = witness.mirror, witness.promise
        words = [
            f"{witness.member} has {mirror.size} entries of {mirror.origin}, {mirror.final_size} of them final.",
            f"Root: {mirror.root.hex()}",
            "No handover approved." if promise is None else f"Approved a handover after {promise.size} entries.",
        ]
        return {
            "ok": True,
            "origin": mirror.origin,
            "member": witness.member,
            "size": mirror.size,
            "root": mirror.root,
            "final_size": mirror.final_size,
            "promise": None if promise is None else {"size": promise.size, "log": promise.log},
            "words": words,
        }


def _of_sequencer(home: Path, copies: list[str]) -> dict[str, Any]:
    at, after = successor_of(home, copies)
    words = [f"{home} has {at.state.size} entries of {at.origin}."]
    if after is not None:
        words += replaced_words(home, after)
    elif copies:
        words.append("No copy shows a successor.")
    return {
        "ok": after is None,
        "origin": at.origin,
        "size": at.state.size,
        "replaced_by": None if after is None else after.key.fingerprint,
        "words": words,
    }
