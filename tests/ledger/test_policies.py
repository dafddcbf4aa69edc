"""Which of a log's policies a receipt is held to: the one of its time, whichever are kept beside it."""

from pathlib import Path

import pytest
from consortium_simulator import CID, ORIGIN, Consortium, key_of

from ledger.checkpoint import NotFinal
from ledger.errors import LedgerError
from ledger.memberships import memberships, policies
from ledger.policies import Policies, policy_files
from ledger.receipt import ReceiptError
from ledger.rules import LOG

STAYING = ["firm-1", "firm-2", "firm-3", "bank-0"]


class World:
    """A log that firm-0 left, and that then changed its key: its policies, and a receipt of entry 0 from each time."""

    def __init__(self) -> None:
        made = Consortium(firms=4)
        self.statement = made.log.entries(0, 1)[0]
        assert made.cosign()
        self.receipts = {6: made.log.receipt(0)}
        made.log.append([made.approved(STAYING, "suspend", member="firm-0", reason="left")])
        assert made.cosign(STAYING)
        self.receipts[7] = made.log.receipt(0)
        key = key_of("the log's next key")
        made.log.append([made.approved(STAYING, "rotate", member=LOG, key=key.public.raw, next_log=None)])
        made.log.use_key(key)
        assert made.cosign(STAYING)
        self.receipts[8] = made.log.receipt(0)
        held = memberships(made.log.entries, made.log.size, CID, ORIGIN)
        self.policies = {f"{since}.txt": policy for since, policy in policies(held, ORIGIN).items()}

    def verify(self, size: int, *names: str) -> str:
        """Under which of the policies named the receipt over `size` entries holds."""
        return Policies({name: self.policies[name] for name in names}).verify(self.receipts[size], self.statement)[0]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_a_receipt_is_held_to_the_policy_of_its_time(world: World) -> None:
    for size in (6, 7, 8):
        assert world.verify(size, *world.policies) == f"{size}.txt"
        assert world.verify(size, f"{size}.txt") == f"{size}.txt"


def test_a_policy_of_another_time_says_which_one_to_take(world: World) -> None:
    """Older: it does not know the log's key; newer: a member has left; with all of them in a folder, too."""
    for size, names, words in (
        (8, ["7.txt"], "not signed by a trusted key"),
        (6, ["8.txt"], "a signature by an unknown key"),
        (8, ["6.txt", "7.txt"], "not signed by a trusted key"),
        (6, ["7.txt", "8.txt"], "are of a later time"),
    ):
        with pytest.raises(ReceiptError, match=rf"{words}.*artesian ledger policy --at {size} --home HOME") as refused:
            world.verify(size, *names)
        assert "\n" not in str(refused.value)


def test_too_few_cosignatures_name_the_policy_too() -> None:
    made = Consortium(firms=3)
    assert made.cosign(made.members[:3])
    receipt, statement = made.log.receipt(0), made.log.entries(0, 1)[0]
    more = Consortium(firms=6)
    with pytest.raises(NotFinal, match=r"3 of 7 .*artesian ledger policy --at 5"):
        Policies({"policy.txt": more.log.policy}).verify(receipt, statement)


def test_who_left_makes_no_receipt_of_a_later_time(world: World) -> None:
    """A policy of a folder holds up to the size of the next one: its members are asked about nothing after it."""
    late = Consortium(firms=4)
    late.task()
    late.task("demand")
    assert late.cosign()
    receipt, statement = late.log.receipt(0), late.log.entries(0, 1)[0]
    assert Policies({"6.txt": world.policies["6.txt"]}).verify(receipt, statement)[1].size == 8
    with pytest.raises(LedgerError):
        Policies(world.policies).verify(receipt, statement)


def test_a_policy_whose_name_is_no_size_is_tried_as_well(world: World) -> None:
    known = {
        "policy.txt": world.policies["8.txt"],
        "of 2026.txt": world.policies["6.txt"],
        "7.txt": world.policies["7.txt"],
    }
    for size, name in ((6, "of 2026.txt"), (7, "7.txt"), (8, "policy.txt")):
        assert Policies(known).verify(world.receipts[size], world.statement)[0] == name


def test_what_is_no_receipt_is_refused_as_ever(world: World) -> None:
    for receipt in (b"", b"\xa0", world.receipts[6].replace(b"\n6\n", b"\n\n6\n")):
        for known in (world.policies, {"8.txt": world.policies["8.txt"]}):
            with pytest.raises(ReceiptError):
                Policies(known).verify(receipt, world.statement)
    with pytest.raises(LedgerError) as refused:
        Policies(world.policies).verify(world.receipts[6], b"no statement")
    assert refused.value.exit_code == 2


def test_the_files_that_a_path_stands_for(tmp_path: Path) -> None:
    one, folder = tmp_path / "policy.txt", tmp_path / "policies"
    assert policy_files(one) == [one]
    assert policy_files(tmp_path) == []
    one.write_text("")
    assert policy_files(tmp_path) == [one]
    folder.mkdir()
    for name in ("5.txt", "12.txt", "notes.md"):
        (folder / name).write_text("")
    assert policy_files(folder) == [folder / "12.txt", folder / "5.txt"]
    assert policy_files(tmp_path) == [one, *policy_files(folder)]
