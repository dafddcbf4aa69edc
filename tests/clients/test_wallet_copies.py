"""Copies of a wallet: whatever was spent from whichever of them, restoring forgets none of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wallet_world import DATA, ONE, UNIT, a_wallet, paid_for, pay

from clients.accounts import WalletRefused
from clients.wallet import Wallet, WalletDamaged, WalletUnreadable
from clients.wallet_copies import read_copy, take
from clients.wallet_row import Cap

OTHERS = ["demand", "limits"]
"""Data sets that perhaps only one of the copies has heard of."""

steps = st.lists(st.sampled_from(["pay", "reserve", "cancel", "lower", *OTHERS]), max_size=6)


def live(wallet: Wallet, name: str, doing: list[str]) -> None:
    """Spend from a wallet, in its own way."""
    for number, do in enumerate(doing):
        if do == "lower" or do in OTHERS:
            data = DATA if do == "lower" else do
            cap = wallet.account(UNIT, data).cap or Cap(8.0 - number, 1e-5)
            wallet.set_cap(UNIT, data, epsilon=cap.epsilon * 0.9, delta=1e-5)
            if do in OTHERS:
                wallet.reserve(UNIT, data, f"{name}/{number}", ONE)
        elif do == "pay":
            pay(wallet, f"{name}/{number}")
        elif do == "reserve":
            wallet.reserve(UNIT, DATA, f"{name}/{number}", ONE)
        elif wallet.open_reservations():
            wallet.cancel(wallet.open_reservations()[0])


def replica(wallet: Wallet) -> Wallet:
    made = Wallet(None)
    made.extend(wallet.rows())
    return made


@given(steps, steps, steps)
def test_whatever_two_copies_have_spent_is_spent_after_taking(
    before: list[str], here: list[str], there: list[str]
) -> None:
    with a_wallet() as one:
        live(one, "before", before)
        with replica(one) as other:
            live(one, "here", here)
            live(other, "there", there)
            own, elsewhere = paid_for(one), paid_for(other)
            least = [account for wallet in (one, other) for account in wallet.report()]
            rows, spent = one.rows(), one.spent(UNIT, DATA)
            take(one, other.rows(), "copy")
            assert one.rows()[: len(rows)] == rows  # nothing is rewritten
            after = {account.dataset: account for account in one.report()}
            # A copy that goes on from where the other ends may have given reservations back; two that part may not.
            if other.rows()[: len(rows)] != rows:
                assert paid_for(one) >= own
                assert all(map(int.__ge__, after[DATA].nano_rdp, spent))
            if rows[: len(other.rows())] != other.rows():
                assert paid_for(one) >= elsewhere
            for account in least:
                kept = after[account.dataset].cap
                assert kept is not None
                assert account.cap is not None
                assert kept.epsilon <= account.cap.epsilon
            again = one.head
            take(one, other.rows(), "copy")
            assert one.head == again  # once is enough


def test_a_release_that_one_copy_cancelled_and_the_other_sent_is_spent() -> None:
    with a_wallet() as one:
        held = one.reserve(UNIT, DATA, "credit/1", ONE)
        with replica(one) as other:
            other.settle(held)
            one.cancel(held)
            take(one, other.rows(), "copy")
        assert paid_for(one) == {"credit/1": 1}


def test_a_cap_that_only_the_other_copy_has_is_kept() -> None:
    with a_wallet() as one, replica(one) as other:
        pay(one, "credit/1")
        other.set_cap(UNIT, "demand", epsilon=1.0, delta=1e-5)
        other.settle(other.reserve(UNIT, "demand", "demand/1", ONE))
        take(one, other.rows(), "copy")
        assert one.account(UNIT, "demand").cap == Cap(1.0, 1e-5)
        with pytest.raises(WalletRefused, match="may only fall"):
            one.set_cap(UNIT, "demand", epsilon=8.0, delta=1e-5)


def test_what_was_booked_from_the_ledger_is_not_booked_again_from_the_copy() -> None:
    with a_wallet() as one, replica(one) as other:
        pay(other, "credit/1", "credit/2")
        (first, _) = other.purchases()
        one.adopt([(first, "ledger entry 7")])
        take(one, other.rows(), "copy")
        assert paid_for(one) == {"credit/1": 1, "credit/2": 1}
        assert [json.loads(row.body).get("source") for row in one.rows()[1:]] == ["ledger entry 7", "copy, row 4"]


def test_a_file_and_its_journal_read_the_same(tmp_path: Path) -> None:
    path = tmp_path / "wallet.sqlite"
    with a_wallet(path, journaled=True) as wallet:
        pay(wallet, "credit/1")
        rows = wallet.rows()
        assert read_copy(path) == (rows, True)
    assert read_copy(path) == read_copy(path.with_suffix(".rows")) == (rows, True)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["wallet.rows", "wallet.sqlite"]


@pytest.mark.parametrize("gone", [1, 3, 5])
def test_what_is_good_before_the_damage_is_read(tmp_path: Path, gone: int) -> None:
    path = tmp_path / "wallet.sqlite"
    with a_wallet(path, journaled=True) as wallet:
        pay(wallet, "credit/1", "credit/2")
        rows = wallet.rows()
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER rows_keep")
        db.execute("DELETE FROM rows WHERE seq = ?", (gone,))
    db.close()
    lines = path.with_suffix(".rows").read_bytes().splitlines(keepends=True)
    path.with_suffix(".rows").write_bytes(b"".join(lines[: gone - 1] + lines[gone:]))
    assert read_copy(path) == (rows[: gone - 1], gone == 5)  # the last row gone is an older copy: not damaged
    assert read_copy(path.with_suffix(".rows")) == (rows[: gone - 1], gone == 5)


def test_what_is_no_wallet_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no wallet\n" * 20)
    assert read_copy(tmp_path / "text") == ([], False)
    (tmp_path / "cut").write_bytes(b"SQLite format 3\0" + bytes(3000))
    assert read_copy(tmp_path / "cut") == ([], False)
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, body TEXT, hash BLOB)")
        db.execute("INSERT INTO rows VALUES (1, NULL, 7)")
    db.close()
    assert read_copy(tmp_path / "other") == ([], False)
    with pytest.raises(WalletUnreadable):
        read_copy(tmp_path / "missing")


def test_rows_that_do_not_follow_are_not_taken(tmp_path: Path) -> None:
    with a_wallet() as one, a_wallet() as other:
        pay(one, "credit/1")
        pay(other, "credit/2", "credit/3")
        head = one.head
        with pytest.raises(WalletDamaged):
            one.extend(other.rows()[3:])
        assert one.head == head


def test_a_copy_in_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "wallet.sqlite"
    with a_wallet(path) as wallet:
        rows = wallet.rows()
    (tmp_path / "safe").mkdir()
    shutil.copy(path, tmp_path / "safe/copy")
    (tmp_path / "safe").chmod(0o500)
    assert read_copy(tmp_path / "safe/copy") == (rows, True)
    assert len(list((tmp_path / "safe").iterdir())) == 1
    (tmp_path / "safe").chmod(0o700)
