"""The journal beside a wallet: it is never ahead, it shows an older copy, and a torn line costs nothing."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from wallet_world import a_wallet, paid_for, pay

from clients.wallet import Wallet, WalletBehind, WalletDamaged, WalletUnreadable
from clients.wallet_journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wallet.sqlite"


def journal_of(path: Path) -> Path:
    return path.with_suffix(".rows")


def test_it_has_the_wallets_rows_and_only_the_owner_reads_it(path: Path) -> None:
    with a_wallet(path, journaled=True) as wallet:
        pay(wallet, "credit/1", "credit/2")
        assert list(Journal(journal_of(path)).rows()) == wallet.rows()
        assert Journal(journal_of(path)).last() == wallet.head
    assert stat.S_IMODE(journal_of(path).stat().st_mode) == 0o600


def test_a_wallet_of_before_gets_one_when_it_is_opened(path: Path) -> None:
    with a_wallet(path) as wallet:
        pay(wallet, "credit/1")
    Wallet(path, journal=journal_of(path)).close()
    with Wallet(path) as wallet:
        assert list(Journal(journal_of(path)).rows()) == wallet.rows()


def test_a_wallet_put_back_from_an_older_copy_is_not_opened(path: Path, tmp_path: Path) -> None:
    with a_wallet(path, journaled=True) as wallet:
        pay(wallet, "credit/1")
    shutil.copy(path, tmp_path / "older")
    with Wallet(path, journal=journal_of(path)) as wallet:
        pay(wallet, "credit/2")
    shutil.copy(tmp_path / "older", path)
    with pytest.raises(WalletBehind, match="ends with row 3 and does not lead to row 5 of its journal") as caught:
        Wallet(path, journal=journal_of(path))
    assert (caught.value.exit_code, "\n" in str(caught.value)) == (1, False)
    path.unlink()
    with pytest.raises(WalletBehind, match="ends with row 0"):
        Wallet(path, journal=journal_of(path))


def test_an_older_copy_that_was_spent_from_is_not_opened(path: Path, tmp_path: Path) -> None:
    """Attack: put an old copy back, and spend until it has as many rows as the journal."""
    with a_wallet(path, journaled=True) as wallet:
        pay(wallet, "credit/1")
    shutil.copy(path, tmp_path / "older")
    with Wallet(path, journal=journal_of(path)) as wallet:
        pay(wallet, "credit/2")
    shutil.copy(tmp_path / "older", path)
    with Wallet(path) as wallet:
        pay(wallet, "credit/3", "credit/4")
    with pytest.raises(WalletBehind):
        Wallet(path, journal=journal_of(path))


def test_a_running_wallet_sees_rows_that_its_file_lacks(path: Path) -> None:
    with a_wallet(path, journaled=True) as one, Wallet(path, journal=journal_of(path)) as other:
        pay(one, "credit/1")
        pay(other, "credit/2")
        pay(one, "credit/3")
        assert list(Journal(journal_of(path)).rows()) == one.rows() == other.rows()


def test_a_torn_line_is_written_again(path: Path) -> None:
    with a_wallet(path, journaled=True) as wallet:
        pay(wallet, "credit/1")
    whole = journal_of(path).read_bytes()
    for kept in range(len(whole) - 1, len(whole) - 60, -7):  # within the last line, which a power cut has torn
        journal_of(path).write_bytes(
            whole[:kept] + (b"" if kept % 2 else bytes(5000))
        )  # or its blocks were never written
        Wallet(path, journal=journal_of(path)).close()
        assert journal_of(path).read_bytes() == whole


def test_one_that_does_not_lead_to_the_wallet_is_told(path: Path) -> None:
    with a_wallet(path, journaled=True) as wallet:
        pay(wallet, "credit/1")
    lines = journal_of(path).read_bytes().splitlines(keepends=True)
    journal_of(path).write_bytes(b"".join([*lines[:-1], b"not a row\n"]))
    with pytest.raises(WalletDamaged, match="its last line is no row of a wallet"):
        Wallet(path, journal=journal_of(path))
    journal_of(path).write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"settle", b"cancel")]))
    assert len(list(Journal(journal_of(path)).rows())) == 2  # the reading of all rows stops where one was changed


def test_when_it_cannot_be_written_nothing_may_leave(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_wallet(path, journaled=True) as wallet:

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(WalletUnreadable, match="No space left"):
                wallet.reserve("row", "credit", "credit/1", (1,) * 69)
        assert paid_for(wallet) == {"credit/1": 1}  # it may have been on its way: it counts
        pay(wallet, "credit/2")
        assert list(Journal(journal_of(path)).rows()) == wallet.rows()


@pytest.mark.parametrize("how", ["moved", "written over"])
def test_a_running_wallet_sees_another_journal_of_the_same_length(path: Path, how: str) -> None:
    journal = journal_of(path)
    with a_wallet(path, journaled=True) as wallet:
        pay(wallet, "credit/1")
        last = journal.read_bytes().splitlines(keepends=True)[-1]
        seq, digest, body = last.split(b" ", 2)
        forged = journal.read_bytes().replace(last, b" ".join([seq, digest[::-1], body]))
        times = journal.stat()
        if how == "moved":
            (path.parent / "other").write_bytes(forged)
            (path.parent / "other").replace(journal)
        else:
            journal.write_bytes(forged)
        os.utime(journal, ns=(times.st_atime_ns, times.st_mtime_ns))
        with pytest.raises(WalletBehind):
            pay(wallet, "credit/2")
        assert len(forged) == times.st_size
