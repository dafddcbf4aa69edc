"""The wallet: never past the cap, never poorer records than what was spent, whatever crashes or tampers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.accounts import NoCap, OverCap, WalletRefused
from clients.composition import tightest_epsilon
from clients.cost import Cost
from clients.mechanism import Mechanism
from clients.privacy import NOTHING, PrivacyError, add, epsilon, gaussian_rdp
from clients.wallet import Wallet, WalletDamaged, WalletUnreadable
from clients.wallet_file import chain
from clients.wallet_journal import Journal
from clients.wallet_row import Cap, Reservation

DELTA = 1e-5
ONE_ROUND = gaussian_rdp(12.79264, 1.0, 1)  # ten of these are epsilon 1
ROOT = Path(__file__).resolve().parents[2]


def wallet_with_cap(path: Path | None = None, epsilon_cap: float = 1.0) -> Wallet:
    wallet = Wallet(path, clock=lambda: 1_700_000_000.5)
    wallet.set_cap("row", "credit", epsilon=epsilon_cap, delta=DELTA)
    return wallet


def test_a_plan_sized_for_the_cap_is_paid_round_by_round_to_the_last() -> None:
    wallet = wallet_with_cap()
    for number in range(10):
        wallet.settle(wallet.reserve("row", "credit", f"round-{number}", ONE_ROUND))
    with pytest.raises(OverCap) as caught:
        wallet.reserve("row", "credit", "round-10", ONE_ROUND)
    line = str(caught.value)
    assert caught.value.exit_code == 1
    assert "\n" not in line
    for part in ("row/credit at delta 1e-05", "would bring epsilon from 1 to 1.0", "over the cap 1; nothing was spent"):
        assert part in line
    assert wallet.spent("row", "credit") == add([ONE_ROUND] * 10)
    (account,) = wallet.report()
    assert (account.open, account.settled, account.cancelled) == (0, 10, 0)
    assert account.epsilon_spent == pytest.approx(1.0, abs=1e-4)


def test_without_a_cap_nothing_may_be_spent() -> None:
    wallet = wallet_with_cap()
    with pytest.raises(NoCap, match="row/demand"):
        wallet.reserve("row", "demand", "round-1", ONE_ROUND)
    with pytest.raises(NoCap, match="entity/credit"):
        wallet.reserve("entity", "credit", "round-1", ONE_ROUND)


def test_a_cap_may_only_fall() -> None:
    wallet = wallet_with_cap()
    head = wallet.head
    wallet.set_cap("row", "credit", epsilon=1.0, delta=DELTA)
    assert wallet.head == head  # the same again writes nothing: a start-up may repeat it
    for higher in ({"epsilon": 1.1, "delta": DELTA}, {"epsilon": 0.5, "delta": 1e-4}):
        with pytest.raises(WalletRefused, match="may only fall"):
            wallet.set_cap("row", "credit", **higher)
    wallet.settle(wallet.reserve("row", "credit", "r", add([ONE_ROUND] * 5)))
    wallet.set_cap("row", "credit", epsilon=0.1, delta=DELTA)
    with pytest.raises(OverCap):
        wallet.reserve("row", "credit", "r", NOTHING)  # already past the new cap: even nothing is too much


def test_a_raise_names_the_cap_that_holds() -> None:
    with wallet_with_cap() as wallet:
        for before, higher in ((0.9, 2.0), (1.0, 0.5)):
            with pytest.raises(WalletRefused, match="it cannot be raised"):
                wallet.raise_cap("row", "credit", before=before, epsilon=higher, delta=DELTA, reason="a board")
        with pytest.raises(WalletRefused, match="reason"):
            wallet.raise_cap("row", "credit", before=1.0, epsilon=2.0, delta=DELTA, reason="two\nlines")
        with pytest.raises(WalletRefused, match="it cannot be raised"):
            wallet.raise_cap("row", "other", before=1.0, epsilon=2.0, delta=DELTA, reason="no cap holds")
        wallet.raise_cap("row", "credit", before=1.0, epsilon=2.0, delta=DELTA, reason="a board")
        assert wallet.account("row", "credit").cap == Cap(2.0, DELTA)


@pytest.mark.parametrize(
    "cap",
    [
        {"epsilon": 0.0, "delta": DELTA},
        {"epsilon": float("nan"), "delta": DELTA},
        {"epsilon": 1, "delta": 1.0},
    ],
)
def test_a_cap_that_caps_nothing_is_refused(cap: dict[str, float]) -> None:
    with pytest.raises(WalletRefused):
        Wallet(None).set_cap("row", "credit", **cap)


def test_cancel_gives_back_and_settled_is_final() -> None:
    wallet = wallet_with_cap()
    first, second = (wallet.reserve("row", "credit", "round-1", ONE_ROUND) for _ in range(2))
    assert wallet.open_reservations("round-1") == (first, second)
    wallet.cancel(first)
    wallet.settle(second)
    assert wallet.spent("row", "credit") == ONE_ROUND
    assert wallet.open_reservations() == ()
    for ended in (first, second):
        for end in (wallet.cancel, wallet.settle):
            with pytest.raises(WalletRefused, match="not open"):
                end(ended)


def test_a_reservation_of_another_wallet_is_not_ours() -> None:
    mine, other = wallet_with_cap(), wallet_with_cap()
    mine.reserve("row", "credit", "mine", ONE_ROUND)
    with pytest.raises(WalletRefused):
        mine.cancel(other.reserve("row", "credit", "other", ONE_ROUND))
    assert mine.spent("row", "credit") == ONE_ROUND


@pytest.mark.parametrize("bad", [(1, 2), (-1,) * 69, (0.5,) * 69])
def test_what_is_no_account_is_refused(bad: tuple[int, ...]) -> None:
    with pytest.raises(PrivacyError):
        wallet_with_cap().reserve("row", "credit", "r", bad)


@pytest.mark.parametrize("name", ["", "x" * 201, "two\nlines"])
def test_names_fit_one_line(name: str) -> None:
    with pytest.raises(WalletRefused):
        wallet_with_cap().reserve("row", "credit", name, ONE_ROUND)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["reserve", "settle", "cancel"]), st.integers(1, 6), st.integers(0, 5)),
        max_size=25,
    )
)
def test_any_history_stays_within_the_cap_and_reads_back_the_same(steps: list[tuple[str, int, int]]) -> None:
    wallet = wallet_with_cap()
    kept = NOTHING
    for do, rounds, which in steps:
        held = wallet.open_reservations()
        if do == "reserve":
            asked = tuple(rounds * nano for nano in ONE_ROUND)
            try:
                wallet.reserve("row", "credit", "r", asked)
                kept = add([kept, asked])
            except OverCap:
                assert epsilon(add([kept, asked]), DELTA) > 1.0
        elif held:
            chosen = held[which % len(held)]
            (wallet.settle if do == "settle" else wallet.cancel)(chosen)
            if do == "cancel":
                kept = tuple(a - b for a, b in zip(kept, chosen.nano_rdp, strict=True))
        assert wallet.spent("row", "credit") == kept
        assert epsilon(kept, DELTA) <= 1.0
    before = (wallet.report(), wallet.open_reservations(), wallet.head)
    wallet._forget()  # as after a failed transaction: everything comes back from the rows
    assert (wallet.report(), wallet.open_reservations(), wallet.head) == before


def test_reopening_reads_back_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "wallet.db"
    with wallet_with_cap(path) as wallet:
        reservation = wallet.reserve("row", "credit", "round-1", ONE_ROUND)
        before = (wallet.report(), wallet.head)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    with Wallet(path) as wallet:
        assert (wallet.report(), wallet.head) == before
        assert wallet.open_reservations() == (reservation,)
        assert wallet._file.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert wallet._file.db.execute("PRAGMA synchronous").fetchone() == (2,)


def damaged_copy(tmp_path: Path, *statements: str) -> Path:
    path = tmp_path / "wallet.db"
    with wallet_with_cap(path) as wallet:
        for number in range(3):
            wallet.settle(wallet.reserve("row", "credit", f"round-{number}", ONE_ROUND))
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER rows_stay")
        db.execute("DROP TRIGGER rows_keep")
        for statement in statements:
            db.execute(statement)
    db.close()
    return path


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("UPDATE rows SET body = replace(body, 'round-1', 'round-9') WHERE seq = 4", 4),
        ("""UPDATE rows SET body = replace(body, '"epsilon":1.0', '"epsilon":9.0') WHERE seq = 1""", 1),
        ("UPDATE rows SET seq = 9 WHERE seq = 7", 7),
        ("DELETE FROM rows WHERE seq = 3", 3),
        ("DELETE FROM rows WHERE seq < 3", 1),
        ("UPDATE rows SET hash = zeroblob(32) WHERE seq = 7", 7),
    ],
)
def test_an_edited_wallet_is_not_opened(tmp_path: Path, statement: str, row: int) -> None:
    path = damaged_copy(tmp_path, statement)
    with pytest.raises(WalletDamaged, match=f"row {row} ") as caught:
        Wallet(path)
    assert caught.value.exit_code == 1


def test_the_untouched_copy_opens(tmp_path: Path) -> None:
    assert Wallet(damaged_copy(tmp_path)).spent("row", "credit") == add([ONE_ROUND] * 3)


def test_a_row_with_a_right_hash_and_a_wrong_sense_is_not_opened(tmp_path: Path) -> None:
    path = damaged_copy(tmp_path)
    with sqlite3.connect(path) as db:
        (before,) = db.execute("SELECT hash FROM rows WHERE seq = 7").fetchone()
        body = json.dumps({"do": "cancel", "reservation": 2})
        db.execute("INSERT INTO rows VALUES (8, ?, ?)", (body, chain(before, body)))
    with pytest.raises(WalletDamaged, match="row 8"):
        Wallet(path)


def test_rows_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "wallet.db"
    wallet_with_cap(path).close()
    with sqlite3.connect(path) as db:
        for statement in ("UPDATE rows SET body = ''", "DELETE FROM rows"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                db.execute(statement)


def test_what_is_no_wallet_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "wallet.db").write_text("this is a text file, certainly no database at all\n" * 50)
    for path in (tmp_path / "wallet.db", tmp_path, tmp_path / "missing" / "wallet.db"):
        with pytest.raises(WalletUnreadable) as caught:
            Wallet(path)
        assert "\n" not in str(caught.value)


def test_killed_between_reserve_and_settle_counts_as_spent(tmp_path: Path) -> None:
    path = tmp_path / "wallet.db"
    wallet_with_cap(path).close()
    code = (
        "import sys, time; from pathlib import Path; from clients.wallet import Wallet\n"
        f"Wallet(Path({str(path)!r})).reserve('row', 'credit', 'round-1', {ONE_ROUND!r})\n"
        "print('reserved', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "reserved\n"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    with Wallet(path) as wallet:
        assert wallet.spent("row", "credit") == ONE_ROUND
        assert [one.purpose for one in wallet.open_reservations()] == ["round-1"]


def test_killed_at_any_moment_the_file_is_whole_and_nothing_said_is_lost(tmp_path: Path) -> None:
    """A process says each step when it is done, and is killed in the middle of another: no said step may be lost."""
    path = tmp_path / "wallet.sqlite"
    wallet_with_cap(path, 8.0).close()
    code = (
        "from pathlib import Path; from clients.wallet import Wallet\n"
        f"wallet = Wallet(Path({str(path)!r}), journal=Path({str(path.with_suffix('.rows'))!r}))\n"
        "number = len(wallet.purchases())\n"
        "while True:\n"
        f"    held = wallet.reserve('row', 'credit', f'round-{{number}}', {(1,) * 69!r})\n"
        "    print('reserved', number, flush=True)\n"
        "    wallet.settle(held); print('settled', number, flush=True); number += 1\n"
    )
    reserved = settled = 0
    for wait_s in (0.0, 0.013, 0.031):
        child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(wait_s)
        os.kill(child.pid, signal.SIGKILL)
        said = [first, *child.stdout.read().splitlines()]
        child.wait()
        child.stdout.close()
        reserved += sum(line.startswith("reserved") for line in said)
        settled += sum(line.startswith("settled") for line in said)
        with Wallet(path, journal=path.with_suffix(".rows")) as wallet:
            (account,) = wallet.report()
            assert account.settled + account.open == len(wallet.purchases()) >= reserved
            assert account.settled >= settled
            assert wallet.spent("row", "credit") == (len(wallet.purchases()),) * 69
            assert list(Journal(path.with_suffix(".rows")).rows()) == wallet.rows()


def test_of_two_processes_that_race_for_the_last_of_the_budget_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "wallet.sqlite"
    with wallet_with_cap(path) as wallet:
        wallet.settle(wallet.reserve("row", "credit", "before", add([ONE_ROUND] * 9)))
    code = (
        "import sys; from pathlib import Path\n"
        "from clients.wallet import Wallet; from clients.accounts import OverCap\n"
        f"wallet = Wallet(Path({str(path)!r}), journal=Path({str(path.with_suffix('.rows'))!r}))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try:\n"
        f"    wallet.reserve('row', 'credit', sys.argv[1], {ONE_ROUND!r}); print('paid')\n"
        "except OverCap: print('refused')\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, name], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "other")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    assert sorted(racer.communicate(timeout=60)[0] for racer in racers) == ["paid\n", "refused\n"]
    with Wallet(path, journal=path.with_suffix(".rows")) as wallet:
        assert wallet.spent("row", "credit") == add([ONE_ROUND] * 10)


def test_on_a_full_disk_nothing_is_spent_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "wallet.sqlite"
    with wallet_with_cap(path, 8.0) as wallet:
        wallet.settle(wallet.reserve("row", "credit", "before", ONE_ROUND))
        (used,) = wallet._file.db.execute("PRAGMA page_count").fetchone()
        wallet._file.db.execute(f"PRAGMA max_page_count = {used}")
        paid = 0
        with contextlib.suppress(WalletUnreadable):
            for _ in range(100):
                wallet.reserve("row", "credit", f"round-{paid}", ONE_ROUND)
                paid += 1
        with pytest.raises(WalletUnreadable, match="full"):
            wallet.reserve("row", "credit", "one more", ONE_ROUND)
        assert len(wallet.purchases()) == 1 + paid < 101
        wallet._file.db.execute("PRAGMA max_page_count = 1000000")
        wallet.reserve("row", "credit", "after", ONE_ROUND)
        assert wallet.spent("row", "credit") == add([ONE_ROUND] * (2 + paid))
    with Wallet(path) as wallet:
        assert len(wallet.purchases()) == 2 + paid


def test_what_is_rolled_back_is_forgotten() -> None:
    """Two things are booked in one transaction, and the second does not hold together: neither is booked."""
    with wallet_with_cap() as wallet:
        found = [
            (Reservation(0, "row", "credit", "one", Cost(ONE_ROUND)), "elsewhere"),
            (Reservation(0, "row", "credit", "other", Cost(ONE_ROUND, (Mechanism(10**9),))), "elsewhere"),
        ]
        before = wallet.head
        with pytest.raises(PrivacyError, match="cost less"):
            wallet.adopt(found)
        assert (wallet.head, wallet.spent("row", "credit"), wallet.purchases()) == (before, NOTHING, ())
        wallet.settle(wallet.reserve("row", "credit", "after", ONE_ROUND))


def test_a_refusal_reads_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the history: what the wallet knows is what is on the disk, since nothing was written."""
    with wallet_with_cap(tmp_path / "wallet.sqlite") as wallet:
        for number in range(10):
            wallet.settle(wallet.reserve("row", "credit", f"round-{number}", ONE_ROUND))
        monkeypatch.setattr(wallet, "_forget", lambda: 1 / 0)
        for _ in range(2):
            with pytest.raises(OverCap):
                wallet.reserve("row", "credit", "one more", ONE_ROUND)


@given(
    doing=st.lists(st.sampled_from(["reserve", "settle", "adopt", "lower"]), min_size=1, max_size=12),
    where=st.integers(0, 100),
    how=st.sampled_from(["edit", "remove", "swap", "cut"]),
)
def test_totals_never_fall_and_no_row_can_be_changed(doing: list[str], where: int, how: str) -> None:
    wallet = wallet_with_cap(epsilon_cap=100.0)
    before = wallet.spent("row", "credit")
    for number, do in enumerate(doing):
        if do == "reserve":
            wallet.reserve("row", "credit", f"round-{number}", ONE_ROUND)
        elif do == "settle" and wallet.open_reservations():
            wallet.settle(wallet.open_reservations()[0])
        elif do == "adopt":
            wallet.adopt([(Reservation(0, "row", "credit", f"found-{number}", Cost(ONE_ROUND)), "elsewhere")])
        elif do == "lower":
            wallet.set_cap("row", "credit", epsilon=99.0 - number, delta=DELTA)
        after = wallet.spent("row", "credit")
        assert all(map(int.__ge__, after, before))
        before = after
    rows = wallet.rows()
    at = where % len(rows)
    changed = list(rows)
    if how == "edit":
        changed[at] = rows[at]._replace(body=rows[at].body.replace(":", ": ", 1))
    elif how == "swap" and at + 1 < len(rows):
        changed[at], changed[at + 1] = rows[at + 1]._replace(seq=at + 1), rows[at]._replace(seq=at + 2)
    elif how == "cut":
        changed = changed[at + 1 :]
    else:
        del changed[at]
    if changed == rows[: len(changed)]:  # the newest rows are gone: that shows beside the journal and the ledger
        return
    with pytest.raises(WalletDamaged):
        Wallet(None).extend(changed)


def test_a_wallet_of_before_opens_and_goes_on(tmp_path: Path) -> None:
    """Its rows say nano-RDP alone, so that the whole account is added up as such."""
    path = tmp_path / "wallet.sqlite"
    shutil.copy(Path(__file__).parent / "wallets/before-mechanisms.sqlite", path)
    old = gaussian_rdp(20.0, 1.0, 1)
    with Wallet(path, journal=path.with_suffix(".rows")) as wallet:
        (account,) = wallet.report()
        assert (account.cap, account.open, account.settled, account.cancelled) == (Cap(3.0, DELTA), 1, 5, 1)
        assert account.total.unnamed == 6
        assert account.epsilon_spent == epsilon(add([old] * 6), DELTA)
        paid = Cost.of(Mechanism(20_000_000))
        wallet.settle(wallet.reserve(account.unit, account.dataset, "credit/new", paid))
        assert wallet.account(account.unit, account.dataset).epsilon_spent == epsilon(add([old] * 7), DELTA)
        wallet.settle(wallet.open_reservations()[0])
        with pytest.raises(OverCap):
            wallet.reserve(account.unit, account.dataset, "too much", Cost.of(Mechanism(300_000)))
        before = wallet.head
    with Wallet(path, journal=path.with_suffix(".rows")) as wallet:
        assert wallet.head == before


def test_where_all_is_known_the_tightest_sum_counts() -> None:
    """A cap of 8 holds some more rounds than nano-RDP can show; at the last it refuses by the tightest sum."""
    release = Mechanism(2_000_000)
    most = next(rounds for rounds in range(1, 99) if tightest_epsilon([release.times(rounds + 1)], DELTA) > 8.0)
    by_rdp = next(rounds for rounds in range(1, 99) if epsilon(release.times(rounds + 1).rdp(), DELTA) > 8.0)
    assert most > by_rdp
    wallet = wallet_with_cap(epsilon_cap=8.0)
    for number in range(most):
        wallet.settle(wallet.reserve("row", "credit", f"round-{number}", Cost.of(release)))
    with pytest.raises(OverCap):
        wallet.reserve("row", "credit", "one more", Cost.of(release))
    (account,) = wallet.report()
    assert account.epsilon_spent == tightest_epsilon([release] * most, DELTA) <= 8.0


def test_two_processes_and_four_threads_never_pass_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "wallet.db"
    wallet = wallet_with_cap(path)
    hundredth = gaussian_rdp(40.4539, 1.0, 1)
    code = (
        "from pathlib import Path; from clients.wallet import Wallet; from clients.accounts import OverCap\n"
        f"wallet, won = Wallet(Path({str(path)!r})), 0\n"
        "print('ready', flush=True)\n"
        "for number in range(70):\n"
        "    try:\n"
        f"        wallet.reserve('row', 'credit', f'other-{{number}}', {hundredth!r}); won += 1\n"
        "    except OverCap: pass\n"
        "print(won)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    won: list[str] = []

    def spend(name: str) -> None:
        for number in range(20):
            with contextlib.suppress(OverCap):
                wallet.reserve("row", "credit", f"{name}-{number}", hundredth)
                won.append(name)

    threads = [threading.Thread(target=spend, args=(f"thread-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert int(output) + len(won) == 100
    assert wallet.spent("row", "credit") == add([hundredth] * 100)
    assert wallet.head == Wallet(path).head
