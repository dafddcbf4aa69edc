"""`artesian ledger members rotate-log`, `members propose log-key`: the log gets its next key, with a quorum or without.

The ledger commits to the log's next key in advance. The coordinator alone takes that one into use; any other key, or
this one without the coordinator, needs a quorum.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, read
from ledger.commands.keys import made_key
from ledger.commands.places import OwnHome, database, ledger_of, standing
from ledger.commands.proposing import Out, propose
from ledger.commands.speaking import fresh_record, speaker

if TYPE_CHECKING:
    from ledger.keys import SigningKey
    from ledger.rules import State


def propose_log_key(home: OwnHome, out: Out, as_json: AsJson = False) -> None:
    """Propose the log's next key to a quorum: when the one committed to is lost, or the coordinator's key is.

    `--home` is the sequencer's. The next key, unless it is there, and the one after it are made in it.
    """
    from ledger.homes import FOLLOWING_LOG_KEY, NEXT_LOG_KEY
    from ledger.rules import LOG, commitment

    with answering(as_json):
        ledger_of(home)
        state = standing(home).state
        coming, following = (made_key(home / name).public for name in (NEXT_LOG_KEY, FOLLOWING_LOG_KEY))
        if state.log is not None and state.log.next == commitment(coming) and _is_coordinators(home, state):
            raise UsageError(
                f"{home / NEXT_LOG_KEY}: the ledger has committed to this key, and the coordinator's is here too: no "
                f"quorum is needed; run: artesian ledger members rotate-log --home {home}"
            )
        propose("rotate", {"member": LOG, "key": coming.raw, "next_log": commitment(following)}, home, out, as_json)


def rotate_log(
    home: OwnHome,
    key: Annotated[Path | None, typer.Option("--key", help="The next key; default: the home's next-log.pem.")] = None,
    proposal: Annotated[
        Path | None, typer.Option("--proposal", help="What a quorum approved, if the coordinator does not sign.")
    ] = None,
    signer: Annotated[
        Path | None, typer.Option("--signer", help="Home of the organisation that signs the record; default: this one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give the log its next key, and commit to the one after it. Stop `serve` before, and start it after."""
    from ledger.homes import FOLLOWING_LOG_KEY, NEXT_LOG_KEY, log_key_of
    from ledger.keys import SigningKey
    from ledger.log import Log

    with answering(as_json):
        ledger_of(home)
        path = key or home / NEXT_LOG_KEY
        if not path.exists():
            raise UsageError(f"{path}: the next key is not here; give --key with its file; {_if_lost(home)}")
        coming, state = SigningKey.load(path), standing(home).state
        is_named = state.log is not None and state.log.key == coming.public.ed25519
        following = _committed_to(home, state) if is_named else made_key(home / FOLLOWING_LOG_KEY)
        if not is_named:
            old = SigningKey.load(log_key_of(home))
            make = _committed if proposal is None else _approved(proposal, path)
            statement = make(home, signer, state, coming, following)
            with Log.open(database(home, None), old) as log:
                log.append([statement])
                log.use_key(coming)
                log.checkpoint()
        kept = _take_over(home, path, coming, following)
        facts = {"ok": True, "fingerprint": coming.public.fingerprint, "next": following.public.fingerprint}
        answer(facts, _what_now(home, coming, kept), as_json)


def _committed(home: Path, signer: Path | None, state: State, coming: SigningKey, following: SigningKey) -> bytes:
    """The coordinator's record that gives the log the key that the ledger has committed to."""
    from ledger.rules import COORDINATOR, LOG, commitment
    from ledger.statement import sign_statement

    if state.log is None or state.log.next != commitment(coming.public):
        raise UsageError(
            f"this is not the key that the ledger has committed to; give that one's --key; {_if_lost(home)}"
        )
    name, own = _signer(home, signer, "the coordinator's home", state)
    if name != COORDINATOR:
        raise UsageError(f"{name} is not the coordinator, who signs this; give its home as --signer; {_if_lost(home)}")
    payload = fresh_record(
        "rotate",
        state.cid,
        parent=state.membership_digest,
        member=LOG,
        key=coming.public.raw,
        next_log=commitment(following.public),
        approvals=[],
    )
    return sign_statement(payload, issuer=name, subject=LOG, key=own)


def _approved(proposal: Path, path: Path) -> Callable[[Path, Path | None, State, SigningKey, SigningKey], bytes]:
    """The same by a quorum, for whichever keys it has approved; they must be those that are here."""
    from ledger.proposal import Proposal
    from ledger.rules import LOG, commitment

    asked = Proposal.from_bytes(read(proposal))

    def make(home: Path, signer: Path | None, state: State, coming: SigningKey, following: SigningKey) -> bytes:
        asked.require_current(state)
        if asked.payload.get("member") != LOG:
            raise UsageError(f"{proposal}: gives the log no key; see: artesian ledger members propose log-key --help")
        if asked.payload["key"] != coming.public.raw:
            raise UsageError(f"{path}: is not the key that {proposal} gives the log; give that one's --key")
        if asked.payload["next_log"] != commitment(following.public):
            raise UsageError(f"{home}: has not the following-log.pem that {proposal} commits to; bring it here first")
        name, own = _signer(home, signer, "any member's home", state)
        return asked.statement(state, issuer=name, key=own)

    return make


def _signer(home: Path, signer: Path | None, whose: str, state: State) -> tuple[str, SigningKey]:
    from ledger.homes import SIGNING_KEY

    if signer is None and not (home / SIGNING_KEY).exists():
        raise UsageError(f"{home}: has no {SIGNING_KEY} to sign the record with; give {whose} as --signer")
    return speaker(signer or home, "", state)


def _is_coordinators(home: Path, state: State) -> bool:
    from ledger.homes import SIGNING_KEY
    from ledger.keys import SigningKey

    own = home / SIGNING_KEY
    return own.exists() and SigningKey.load(own).public == state.coordinator


def _if_lost(home: Path) -> str:
    return f"if it is lost: artesian ledger members propose log-key --home {home} --out log-key.proposal"


def _what_now(home: Path, coming: SigningKey, kept: Path | None) -> list[str]:
    from ledger.homes import NEXT_LOG_KEY

    return [
        f"The log signs with {coming.public.fingerprint} now.",
        f"Its next key is {home / NEXT_LOG_KEY}: take it to a safe place.",
        *([] if kept is None else [f"The key before is kept as {kept}: destroy it when the members have cosigned."]),
        "When the members have cosigned it, `serve` renews policy.txt, for verifiers; by hand:",
        f"artesian ledger policy --home {home} --write",
    ]


def _committed_to(home: Path, state: State) -> SigningKey:
    """The key after the log's present one, wherever a change of key that was broken off has left it.

    Another must never take its place: the one that the ledger has committed to cannot be made again.
    """
    from ledger.homes import FOLLOWING_LOG_KEY, NEXT_LOG_KEY
    from ledger.keys import SigningKey
    from ledger.rules import commitment

    for file in (home / FOLLOWING_LOG_KEY, home / NEXT_LOG_KEY):
        if file.exists() and state.log is not None:
            known = SigningKey.load(file)
            if commitment(known.public) == state.log.next:
                return known
    raise UsageError(
        f"{home}: the log has this key already, and the one after it is not here; to finish what was broken off, bring "
        f"that one here as {NEXT_LOG_KEY}; to change the key once more, give that one's --key"
    )


def _take_over(home: Path, path: Path, coming: SigningKey, following: SigningKey) -> Path | None:
    """Make `coming` the home's log.pem, and `following` the next one; what was log.pem is kept: where, or None.

    After a crash in between it is done again: `path` is the last to go.

    Raises:
        UsageError: all is done, but `path` could not be deleted.
    """
    from ledger.homes import FOLLOWING_LOG_KEY, LOG_KEY, NEXT_LOG_KEY
    from ledger.keys import SigningKey

    own, kept = home / LOG_KEY, None
    if own.exists() and SigningKey.load(own).public != coming.public:
        kept = own.rename(home / f"log.old-{SigningKey.load(own).public.kid.hex()[:8]}.pem")
    if not own.exists():
        coming.save(own)
    after = home / FOLLOWING_LOG_KEY
    if after.exists() and SigningKey.load(after).public == following.public:
        after.replace(home / NEXT_LOG_KEY)
    if path.resolve() not in (own.resolve(), (home / NEXT_LOG_KEY).resolve()):
        try:
            path.unlink()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise UsageError(f"{path}: is {own} now; delete it there yourself, it cannot be: {reason}") from None
    return kept
