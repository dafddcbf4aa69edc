"""What `firm.toml` rules over the wallet: caps that fall, a raise that is written down, limits, one account."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner
from task_world import CREDIT
from wallet_world import RELEASE

from artesian import app
from clients.accounts import OverCap, WalletRefused
from clients.allowance import YEAR_MS, OverAllowance
from clients.cost import Cost
from clients.firm import DeclaredTask, Firm
from clients.firm_config import FirmConfigInvalid
from clients.firm_wallet import TwoNames
from clients.mechanism import MICRO, Mechanism
from clients.wallet import Wallet

Make = Callable[..., Firm]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a firm, or changes one: its limits, its tasks as {name: (table, data set)}, its home, its wallet."""

    def made(
        tasks: dict[str, tuple[str, str | None]] | None = None,
        *,
        home: str = "firm-1",
        wallet: str | None = None,
        cid: str = "bread",
        now: float = 1_700_000_000.0,
        **limits: object,
    ) -> Firm:
        at = tmp_path / home
        (at / "data").mkdir(parents=True, exist_ok=True)
        (at / "task.toml").write_text(CREDIT)
        entries = []
        for name, (data, dataset) in (tasks or {"credit": ("data/credit.csv", None)}).items():
            entry = {"name": name, "spec": "task.toml", "data": data, "units": 10}
            entries.append({**entry, **({} if dataset is None else {"dataset": dataset})})
            if not (at / data).exists():
                (at / data).write_text(f"a table of {data}\n")
        document = {"member": "firm-1", "cid": cid, "limits": {"without_ledger": True, **limits}, "task": entries}
        document |= {} if wallet is None else {"wallet": wallet}
        (at / "firm.toml").write_text(tomli_w.dumps(document))
        return Firm(at, lambda: now)

    return made


_ROUNDS = itertools.count(100)


def pay(firm: Firm, purpose: str, *mechanisms: Mechanism, task: str = "credit", number: int = 1) -> None:
    """Charge without a look at the table. Each call is a round of its own: one that is paid for is not paid again."""
    declared = firm.declared(task)
    its_own = f"{purpose}{next(_ROUNDS)}"
    reservation = firm.charge(_Bare(declared), its_own, *(mechanisms or (RELEASE,)), number=number, rounds=9)  # type: ignore[arg-type]
    assert reservation is not None
    firm.wallet.settle(reservation)


class _Bare:
    """A task whose examples nobody looks at."""

    def __init__(self, declared: DeclaredTask) -> None:
        self.declared = declared


def until_refused(kind: type[Exception], *acts: Callable[[], None]) -> int:
    """Act in turns until one is refused; how often that went well, at least twice."""
    for done in range(99):
        try:
            acts[done % len(acts)]()
        except kind:
            assert done >= 2
            return done
    raise AssertionError("nothing was refused")


def raises_of(home: Path) -> list[dict[str, object]]:
    with Wallet(home / "wallet.sqlite") as wallet:
        rows = [json.loads(row.body) for row in wallet.rows()]
    return [row for row in rows if row["do"] == "raise"]


def test_a_cap_rises_only_by_the_owners_decision_which_stays_on_record(make: Make) -> None:
    with make(epsilon=2.0).wallet:
        pass
    with pytest.raises(WalletRefused, match=r"may only fall.* \[limits.raising\] from_epsilon = 2 and a reason"):
        _ = make(epsilon=3.0).wallet
    decision = {"from_epsilon": 2.0, "reason": "board, 3 May"}
    for wrong in ({"from_epsilon": 2.5, "reason": "not what holds"}, {"from_epsilon": 1.0, "reason": "nor this"}):
        with pytest.raises(WalletRefused, match="may only fall"):
            _ = make(epsilon=3.0, raising=wrong).wallet
    for _again in range(2):  # the decision may stay in the file: it is carried out once
        with make(epsilon=3.0, raising=decision).wallet as wallet:
            assert [str(one.cap) for one in wallet.report()] == ["epsilon 3 at delta 1e-05"]
    (row,) = raises_of(make(epsilon=3.0).home)
    assert (row["from"], row["epsilon"], row["reason"]) == (2.0, 3.0, "board, 3 May")
    with pytest.raises(WalletRefused, match="may only fall"):
        _ = make(epsilon=4.0, raising=decision).wallet  # nor does it raise any further
    with pytest.raises(WalletRefused, match="cannot be raised"):
        _ = make(epsilon=5.0, delta=1e-4, raising={"from_epsilon": 3.0, "reason": "delta too"}).wallet


def test_a_decision_that_stays_in_the_file_raises_nothing_twice(make: Make) -> None:
    """The cap falls back to what the decision names, and `epsilon` goes up again."""
    decision = {"from_epsilon": 2.0, "reason": "board, 3 May"}
    for epsilon, raising in ((2.0, None), (3.0, decision), (2.0, decision)):
        with make(epsilon=epsilon, **({} if raising is None else {"raising": raising})).wallet:
            pass
    for epsilon in (3.0, 2.5, 4.0):
        with pytest.raises(
            WalletRefused, match=r"'board, 3 May', which holds once; to raise it again, put a new reason"
        ):
            _ = make(epsilon=epsilon, raising=decision).wallet
    firm = make(epsilon=3.0, raising={**decision, "reason": "board, 9 June"})
    with firm.wallet as wallet:
        assert [str(one.cap) for one in wallet.report()] == ["epsilon 3 at delta 1e-05"]
    assert [row["reason"] for row in raises_of(firm.home)] == ["board, 3 May", "board, 9 June"]


@pytest.mark.parametrize("decision", [{"from_epsilon": 2.0}, {"from_epsilon": 2.0, "reason": ""}, {"reason": "x"}])
def test_a_decision_names_what_it_raises_and_why(make: Make, decision: dict[str, object]) -> None:
    with pytest.raises(FirmConfigInvalid, match=r"limits\.raising"):
        make(epsilon=3.0, raising=decision)


def test_a_round_that_costs_more_than_one_may_is_refused(make: Make) -> None:
    firm = make(epsilon=8.0, epsilon_round=0.3)
    pay(firm, "credit/1")
    dear = Mechanism(5 * MICRO)
    with pytest.raises(OverAllowance, match=r"the round costs epsilon 0\.\d+, over the 0.3 that epsilon_round allows"):
        pay(firm, "credit/2", dear)
    pay(firm, "opening/credit/1", dear, number=0)  # it is no round
    firm.close()


def test_a_year_has_its_own_limit_and_ends(make: Make) -> None:
    begin = 1_700_000_000.0
    firm = make(epsilon=8.0, epsilon_year=0.5, now=begin)
    for _ in range(until_refused(OverAllowance, lambda: pay(firm, "credit/1"))):
        with pytest.raises(OverAllowance, match=r"of the last 365 days from 0\.\d+ to 0\.\d+, over the 0.5 that"):
            pay(firm, "credit/next")
    firm.close()
    later = make(epsilon=8.0, epsilon_year=0.5, now=begin + YEAR_MS / 1000 - 1)
    with pytest.raises(OverAllowance):
        pay(later, "credit/next")
    later.close()
    after = make(epsilon=8.0, epsilon_year=0.5, now=begin + YEAR_MS / 1000 + 1)
    pay(after, "credit/next")
    after.close()
    back = make(epsilon=8.0, epsilon_year=0.5, now=begin - YEAR_MS / 1000)  # a clock put back buys nothing
    with pytest.raises(OverAllowance):
        pay(back, "credit/past")
    back.close()


@pytest.mark.parametrize("before", [True, False])
def test_a_clock_that_was_not_set_takes_nothing_out_of_a_year(make: Make, before: bool) -> None:
    """A machine starts in 1970, spends, and then learns what time it is; with rows before it or without."""
    today = 1_700_000_000.0
    if before:
        firm = make(epsilon=8.0, epsilon_year=0.5, now=today)
        pay(firm, "credit/0")
        firm.close()
    unset = make(epsilon=8.0, epsilon_year=0.5, now=60.0)
    until_refused(OverAllowance, lambda: pay(unset, "credit/1"))
    unset.close()
    after = make(epsilon=8.0, epsilon_year=0.5, now=today + 3600)
    with pytest.raises(OverAllowance):
        pay(after, "credit/2")
    after.close()
    if before:  # it is dated by the row before it, and so its year ends
        later = make(epsilon=8.0, epsilon_year=0.5, now=today + YEAR_MS / 1000 + 1)
        pay(later, "credit/3")
        later.close()


def test_two_tasks_on_one_data_set_add_up(make: Make) -> None:
    both = {"credit": ("data/customers.csv", None), "limits": ("data/customers.csv", None)}
    firm = make(both, epsilon=0.5)
    until_refused(OverCap, lambda: pay(firm, "credit/1"), lambda: pay(firm, "limits/1", task="limits"))
    (account,) = firm.wallet.report()
    assert account.settled == len(firm.wallet.purchases()) > 3
    firm.close()


def test_two_consortia_with_one_wallet_add_up(make: Make) -> None:
    task = {"credit": ("data/credit.csv", "customers")}
    one = make(task, epsilon=0.5, wallet="../wallet.sqlite")
    other = make(task, home="firm-1-steel", cid="steel", epsilon=0.5, wallet="../wallet.sqlite")
    until_refused(OverCap, lambda: pay(one, "credit/1"), lambda: pay(other, "credit/2"))
    (account,) = one.wallet.report()
    assert {spent.occasion.consortium for spent in one.wallet.purchases()} == {"bread", "steel"}
    assert account.settled > 3
    one.close()
    other.close()


@pytest.mark.parametrize("how", ["same", "link", "copy"])
def test_one_file_under_two_names_is_refused(make: Make, how: str) -> None:
    firm = make({"credit": ("data/a.csv", None)})
    table = firm.home / "data/a.csv"
    if how == "link":
        (firm.home / "data/b.csv").symlink_to(table)
    elif how == "copy":
        (firm.home / "data/b.csv").write_bytes(table.read_bytes())
    other = "data/a.csv" if how == "same" else "data/b.csv"
    two = make({"credit": ("data/a.csv", "loans"), "limits": (other, "customers")})
    with pytest.raises(TwoNames, match="'credit' and 'limits' read the same records, as the data sets 'loans' and"):
        _ = two.wallet
    with make({"credit": ("data/a.csv", "loans"), "limits": (other, "loans")}).wallet:
        pass


def test_a_new_name_gives_no_new_budget(make: Make) -> None:
    """Attack: the records have paid to the cap, and `dataset` in firm.toml becomes another."""
    firm = make({"credit": ("data/credit.csv", "loans")}, epsilon=0.5)
    pay(firm, "credit/1")
    firm.close()
    renamed = make({"credit": ("data/credit.csv", "fresh")}, epsilon=0.5)
    with pytest.raises(TwoNames, match=r"data/credit\.csv has paid as the data set 'loans', and cannot pay as 'fresh'"):
        pay(renamed, "credit/2")
    renamed.close()
    moved = make({"credit": ("data/new-customers.csv", "fresh")}, epsilon=0.5)  # other records in another file may
    pay(moved, "credit/2")
    assert len(moved.wallet.report()) == 2
    moved.close()


def test_nor_does_a_name_where_rows_of_before_name_no_file(make: Make) -> None:
    with make().wallet as wallet:
        (account,) = wallet.report()
        wallet.settle(wallet.reserve(account.unit, account.dataset, "credit/1", Cost.of(RELEASE)))
    renamed = make({"credit": ("data/credit.csv", "fresh")})
    with pytest.raises(TwoNames, match=r"has paid as the data set 'data/credit\.csv'"):
        pay(renamed, "credit/2")
    renamed.close()


@pytest.mark.parametrize("purpose", ["credit/1", "opening/credit/1"])
def test_a_new_file_name_gives_no_new_budget(make: Make, purpose: str) -> None:
    """The next month's export: the same customers and one month more, under another file name."""
    firm = make({"credit": ("credit-2026-11.csv", None)}, epsilon=0.5)
    pay(firm, purpose)
    firm.close()
    grown = make({"credit": ("credit-2026-12.csv", None)}, epsilon=0.5)
    with pytest.raises(TwoNames) as caught:
        pay(grown, "credit/2")
    assert "'credit' has paid as the data set 'credit-2026-11.csv'" in str(caught.value)
    assert 'put dataset = "credit-2026-11.csv"' in str(caught.value)
    assert (caught.value.exit_code, "\n" in str(caught.value)) == (1, False)
    with pytest.raises(TwoNames):
        grown.rehearse_charge(grown.declared("credit"), RELEASE)
    grown.close()
    for command in (["wallet-check"], ["status"], ["privacy-statement", "credit"], ["wallet"]):
        told = CliRunner().invoke(app, ["firm", *command, "--home", str(grown.home)])
        assert str(caught.value) in told.output
        assert told.exit_code == 1
    named = make({"credit": ("credit-2026-12.csv", "credit-2026-11.csv")}, epsilon=0.5)
    until_refused(OverCap, lambda: pay(named, "credit/2"))
    assert named.wallet.account("one row", "credit-2026-11.csv").settled == len(named.wallet.purchases())
    named.close()


def test_what_was_given_back_binds_no_name(make: Make) -> None:
    firm = make({"credit": ("a.csv", None)})
    firm.wallet.cancel(firm.charge(_Bare(firm.declared("credit")), "credit/1", RELEASE))  # type: ignore[arg-type]
    firm.close()
    other = make({"credit": ("b.csv", None)})
    pay(other, "credit/2")
    other.close()
