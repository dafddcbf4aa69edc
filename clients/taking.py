"""How a release comes to a firm: in a message of the coordinator, or from a folder that somebody hands over.

Either way it is taken for what the firm's own mirror of the ledger says, and for nothing else: published there, final,
not revoked, the model of its hash, for the very task spec that the firm has.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from clients.catching_up import catch_up
from clients.disclosure import Leaving, leave
from clients.firm import Firm
from clients.messages import RELEASE, Refusal
from clients.model_files import ModelFileInvalid, file_digests, model_digest
from clients.own_mirror import reading_mirror
from clients.releases import HeldRelease, OfferedRelease, ReleaseNotTaken, check_release, held_release, keep_release
from clients.tasks.task import task_for
from ledger.commands.places import Standing, mirror_standing
from ledger.errors import LedgerError
from ledger.policies import Policies, policy_files
from ledger.policy import Policy
from ledger.receipt import Receipt, VerifiedReceipt, verify_receipt
from ledger.source import WitnessRefusal


def deliver(firm: Firm, request: Mapping[str, Any]) -> Leaving:
    """Take the release that the coordinator sends.

    Raises:
        Refusal: it is not what the ledger says, or there is no ledger to say so; nothing was kept.
        NotTakingPart, LedgerError: it is of no task of this firm's; its receipt does not hold.
    """
    if firm.config.limits.without_ledger:
        raise Refusal(
            "release", f"{firm.member} trains without a ledger: nothing says that a model is the one published"
        )
    task = task_for(firm.declared(request["task"]).spec)
    files = request["files"]
    if not all(type(one) is bytes for one in files.values()):
        raise Refusal("release", "its files must be bytes")
    offered = OfferedRelease(files, request["manifest"], request["statement"], request["receipt"])
    catch_up(firm, Receipt.from_bytes(offered.receipt).checkpoint)
    with suppress(WitnessRefusal):  # it may be of a history that this firm lacks: then the receipt alone is judged
        firm.witness.mirror.learn(Receipt.from_bytes(offered.receipt).checkpoint)
    proof = verify_receipt(offered.receipt, offered.statement, firm.trusted)
    if proof.index >= firm.witness.size or firm.witness.entry(proof.index) != offered.statement:
        raise Refusal("release", f"its publication is not in {firm.member}'s mirror of the ledger")
    try:
        held = check_release(task, offered, proof, firm.witness.state)
    except (ReleaseNotTaken, ModelFileInvalid) as error:
        raise Refusal("release", str(error)) from error
    keep_release(firm.home, task.spec.name, held.model, offered)
    return leave(RELEASE, {"model": held.model})


def take_from_folder(firm: Firm, folder: Path) -> tuple[str, HeldRelease]:
    """Take a release from a folder like the coordinator's `releases/<task>/<model>`; works beside a running client.

    Returns:
        The task's name, and the release.

    Raises:
        ReleaseNotTaken, NotTakingPart, LedgerError: it is not what this firm's mirror says; nothing was kept.
    """
    offered = OfferedRelease.from_folder(folder)
    known = mirrored(firm)
    published = known.state.releases.get(model_digest(file_digests(offered.files)))
    if published is None:
        raise ReleaseNotTaken(f"{folder}: no model of this hash is published in {firm.member}'s mirror of the ledger")
    task = task_for(firm.declared(published.task).spec)
    proof = _proof(firm, known, offered)
    with reading_mirror(firm) as store:
        entry = store.entries(published.index, published.index + 1)[0]
    if entry != offered.statement or published.index >= known.final_size:
        raise ReleaseNotTaken(
            f"{folder}: its publication is not entry {published.index} of this firm's mirror, or not final there yet"
        )
    held = check_release(task, offered, proof, known.state)
    keep_release(firm.home, task.spec.name, held.model, offered)
    return task.spec.name, held


def current_release(firm: Firm, task_name: str) -> HeldRelease:
    """The release of a task that this firm works with now.

    Raises:
        ReleaseNotTaken: it has none that is not revoked.
        NotTakingPart: the task is not this firm's.
    """
    return held_release(firm.home, task_for(firm.declared(task_name).spec), mirrored(firm).state)


def mirrored(firm: Firm) -> Standing:
    """Where this firm's mirror stands, without its lock.

    Raises:
        ReleaseNotTaken: it has none yet.
        WitnessRefusal: it is another's.
    """
    known = mirror_standing(firm.home)
    if known is None:
        raise ReleaseNotTaken(f"{firm.home}: this firm mirrors no ledger yet, which says what is published")
    with reading_mirror(firm):
        return known


def _proof(firm: Firm, known: Standing, offered: OfferedRelease) -> VerifiedReceipt:
    """What the receipt proves, by the members of now or by the policies that this firm has kept from before."""
    with suppress(LedgerError):
        return verify_receipt(offered.receipt, offered.statement, known.settled.policy(known.origin))
    kept = {path.name: Policy.parse(path.read_text(encoding="utf-8")) for path in policy_files(firm.home)}
    return Policies(kept).verify(offered.receipt, offered.statement)[1]
