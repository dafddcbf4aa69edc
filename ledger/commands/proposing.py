"""`artesian ledger members propose`, `approve`, `submit`: changes that need a quorum, as a file that goes around."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.commands.answering import AsJson, UsageError, answer, answering, read, tell, write
from ledger.commands.connecting import Address, Authority
from ledger.commands.places import OwnHome, standing
from ledger.commands.placing import put
from ledger.commands.speaking import fresh_record, speaker

if TYPE_CHECKING:
    from ledger.proposal import Proposal
    from ledger.rules import State

From = Annotated[Path, typer.Option("--from", help="TOML file with the member's block, from `members key`.")]
Out = Annotated[Path, typer.Option("--out", help="The proposal's file, which must not exist yet.")]
File = Annotated[Path, typer.Argument(help="The proposal's file.")]


def enrol(home: OwnHome, block: From, out: Out, as_json: AsJson = False) -> None:
    """Propose a new member, or a suspended one again."""
    from ledger.member_file import read_members

    with answering(as_json):
        (member,) = _one(read_members(block), block)
        if standing(home).state.is_enrolled(member.member):
            raise UsageError(f"{member.member!r} is a member already; for another key: members propose rotate")
        fields = {"member": member.member, "kind": member.kind, "key": member.key.raw, "name": member.name}
        propose("enrol", fields, home, out, as_json)


def rotate(home: OwnHome, block: From, out: Out, as_json: AsJson = False) -> None:
    """Propose another key for a member: for example because the present one is lost."""
    from ledger.member_file import read_members
    from ledger.rules import COORDINATOR

    with answering(as_json):
        (member,) = _one(read_members(block), block)
        if member.member != COORDINATOR:
            _require_active(member.member, home)
        propose("rotate", {"member": member.member, "key": member.key.raw}, home, out, as_json)


def suspend(
    home: OwnHome,
    member: Annotated[str, typer.Option("--member", help="Whose vote and voice end.")],
    reason: Annotated[str, typer.Option(help="Why. It goes on the ledger.")],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Propose to suspend a member; enrolling it again ends that."""
    with answering(as_json):
        _require_active(member, home)
        propose("suspend", {"member": member, "reason": reason}, home, out, as_json)


def policy(
    home: OwnHome,
    out: Out,
    min_cohort: Annotated[int | None, typer.Option(min=1, help="Fewest firms in a training cohort.")] = None,
    signatures: Annotated[str | None, typer.Option(help="ed25519 or ed25519+ml-dsa-65.")] = None,
    config: Annotated[Path | None, typer.Option(help="The consortium's configuration file; its hash is named.")] = None,
    as_json: AsJson = False,
) -> None:
    """Propose other terms; what is not given stays."""
    import hashlib

    with answering(as_json):
        state = standing(home).state
        assert state.coordinator is not None, "a ledger that can be replayed has a founding policy"
        fields = {
            "coordinator": state.coordinator.raw,
            "min_cohort": min_cohort or state.terms.min_cohort,
            "config": state.terms.config if config is None else hashlib.sha256(read(config)).digest(),
            "signatures": signatures or state.terms.signatures,
            "founders": None,
            "log": None,
            "next_log": None,
        }
        propose("policy", fields, home, out, as_json)


def approve(
    proposal: File,
    home: OwnHome,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    member: Annotated[str, typer.Option("--member", help="The member's id; default: as the home says.")] = "",
    as_json: AsJson = False,
) -> None:
    """Sign a proposal as a member, after it has been shown. The file keeps the approval."""
    from ledger.proposal import Proposal

    with answering(as_json):
        asked, state = Proposal.from_bytes(read(proposal)), standing(home).state
        if asked.payload["t"] == "handover":  # approving one binds the witness: another command does that first
            raise UsageError(f"a handover is approved with: artesian ledger handover approve {proposal} --home {home}")
        asked.require_current(state)
        name, key = speaker(home, member, state)
        if not state.is_enrolled(name):
            raise UsageError(f"{name} is no active member and cannot approve")
        for line in asked.words():
            tell(line)
        if not yes:
            ask(name, as_json)
        approved = asked.approved(name, key)
        write(proposal, approved.to_bytes(), replace=True)
        report(approved, state, proposal, as_json, shown=True)


def status(proposal: File, home: OwnHome, as_json: AsJson = False) -> None:
    """Show what a proposal asks for, who has approved it, and how many are needed."""
    from ledger.proposal import Proposal

    with answering(as_json):
        asked = Proposal.from_bytes(read(proposal))
        report(asked, standing(home).state, proposal, as_json)


def submit(proposal: File, home: OwnHome, address: Address = "", ca: Authority = None, as_json: AsJson = False) -> None:
    """Put a proposal that a quorum has approved on the ledger, in this organisation's name."""
    from ledger.proposal import Proposal
    from ledger.rules import LOG

    with answering(as_json):
        asked, state = Proposal.from_bytes(read(proposal)), standing(home).state
        if asked.payload["t"] == "handover" or asked.payload.get("member") == LOG:  # the log's key changes where it is
            raise UsageError(f"this changes the log's key, which is not submitted; run: {_enough(asked, proposal)}")
        asked.require_current(state)
        name, key = speaker(home, "", state)
        (place,) = put([asked.statement(state, issuer=name, key=key)], home, address, ca, (name, key))
        facts = {"ok": True, "index": place.index, "final": place.receipt is not None}
        answer(facts, [f"The {asked.payload['t']} record is {place.words}."], as_json)


def _one(members: list[Any], path: Path) -> list[Any]:
    if len(members) != 1:
        raise UsageError(f"{path}: holds {len(members)} members; propose one at a time")
    return members


def _require_active(member: str, home: Path) -> None:
    if not standing(home).state.is_enrolled(member):
        raise UsageError(f"{member!r} is no active member; see: artesian ledger members")


def propose(t: str, fields: dict[str, Any], home: Path, out: Path, as_json: bool) -> None:
    """Write the proposal of a record of type `t` with these fields, on the membership of now."""
    from ledger.proposal import Proposal

    state = standing(home).state
    payload = fresh_record(t, state.cid, parent=state.membership_digest, **fields, approvals=[])
    proposal = Proposal.of(payload)
    write(out, proposal.to_bytes())
    report(proposal, state, out, as_json)


def ask(name: str, as_json: bool) -> None:
    """Let the person at the terminal decide; leave with exit code 1 if it is a no.

    Raises:
        UsageError: nobody is there.
    """
    if as_json or not sys.stdin.isatty():
        raise UsageError("nobody is here to be asked; read the proposal, then add --yes")
    if not typer.confirm(f"Approve this as {name}?", err=True):
        raise typer.Exit(1)


def report(
    proposal: Proposal, state: State, path: Path, as_json: bool, *, shown: bool = False, group: str = "members"
) -> None:
    """Say what is proposed, who has approved, and what comes next."""
    from ledger.policy import quorum_size

    good, needed = proposal.approvers(state), quorum_size(state.voters)
    facts = {
        "ok": True,
        "file": str(path),
        "record": proposal.payload,
        "approved": good,
        "needed": needed,
        "members": state.voters,
    }
    by = f" ({', '.join(good)})" if good else ""
    approving = f"artesian ledger {group} approve {path} --home HOME, each member with its own"
    words = [
        *([] if shown else proposal.words()),
        f"{len(good)} of {state.voters} members approved{by}, {needed} are needed.",
        f"Next: {_enough(proposal, path) if len(good) >= needed else approving}",
    ]
    answer(facts, words, as_json)


def _enough(proposal: Proposal, path: Path) -> str:
    """The command that takes a proposal with enough approvals."""
    from ledger.rules import LOG

    if proposal.payload["t"] == "handover":
        return f"artesian ledger handover start {path} --home HOME --to NEW-HOME"
    if proposal.payload.get("member") == LOG:
        rotating = f"artesian ledger members rotate-log --home SEQUENCER --proposal {path} --signer HOME"
        return f"{rotating}, while `serve` is stopped; HOME is any member's"
    return f"artesian ledger members submit {path} --home HOME"
