"""An operator's wallet is lost, put back, damaged, or used on two machines: nothing that was spent is forgotten."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from consortium_world import Consortium, a_plan

from artesian import app
from clients import participation
from clients.accounts import OverCap
from clients.firm import Firm
from clients.mechanism import Mechanism
from clients.wallet import Wallet, WalletBehind, WalletDamaged
from clients.wallet_ledger import LedgerView, require_booked, unbooked

NAME = "firm-2"
ACCOUNT = "one row", "data/credit.csv"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """Every firm has contributed to three rounds, and the wallet was copied after the first."""
    made = Consortium(tmp_path_factory.mktemp("consortium") / "home")
    for number in range(1, 4):
        plan = a_plan(number=number, rounds=9, noise_micro=20_000_000)
        statement = made.open_round(plan)
        replies = [participation.train(made.firms[name], made.request(name, statement)) for name in made.names]
        made.log.append([reply["statement"] for reply in replies])
        made.abort(statement)
        if number == 1:
            shutil.copy(made.firms[NAME].home / "wallet.sqlite", made.firms[NAME].home / "copy-1")
            shutil.copy(made.firms[NAME].home / "wallet.sqlite-wal", made.firms[NAME].home / "copy-1-wal")
    made.witness()
    made.witness()  # the firms learn that the last entries are final
    for firm in made.firms.values():
        firm.close()
    yield made
    made.log.close()


@pytest.fixture
def home(world: Consortium, tmp_path: Path) -> Path:
    """A copy of the firm's home, at rest."""
    return Path(shutil.copytree(world.built.member(NAME), tmp_path / NAME))


def run(command: str, home: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["firm", f"wallet-{command}", *map(str, arguments), "--home", str(home)])


def facts(done: Result) -> dict[str, Any]:
    assert (done.exit_code, done.stderr) == (0, ""), done.stderr
    return dict(json.loads(done.stdout))


def purposes(home: Path) -> list[str]:
    with Wallet(home / "wallet.sqlite") as wallet:
        return [one.purpose for one in wallet.purchases()]


def put_back_older(home: Path, *, journal: bool) -> None:
    """As after a restore that an operator did by hand: of the wallet alone, or of the whole home."""
    _remove_wallet(home)
    for ending in ("", "-wal"):
        shutil.copy(home / f"copy-1{ending}", home / f"wallet.sqlite{ending}")
    if not journal:
        (home / "wallet.rows").unlink()


def _remove_wallet(home: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        (home / f"wallet.sqlite{ending}").unlink(missing_ok=True)


def damage(home: Path) -> None:
    with sqlite3.connect(home / "wallet.sqlite") as database:
        database.execute("DROP TRIGGER rows_stay")
        database.execute("UPDATE rows SET body = replace(body, 'credit', 'Credit') WHERE seq = 4")
    database.close()


def charge(home: Path, purpose: str = "credit/next") -> None:
    firm = Firm(home)
    try:
        firm.charge(firm.task("credit"), purpose, Mechanism(20_000_000), number=1, rounds=2)
    finally:
        firm.close()


def test_a_wallet_in_order_is_said_to_be(home: Path) -> None:
    said = facts(run("check", home, "--json"))
    assert (said["ok"], said["journal"]) == (True, True)
    assert said["final_entries_compared"] > 0
    assert "All contributions among the" in run("check", home).stdout
    charge(home)


@pytest.mark.parametrize("journal", [True, False])
def test_an_older_copy_is_refused_before_training_and_mended(home: Path, journal: bool) -> None:
    paid = purposes(home)
    put_back_older(home, journal=journal)
    assert len(purposes(home)) == 1
    with pytest.raises(WalletBehind) as caught:
        charge(home)
    assert "\n" not in str(caught.value)
    assert "artesian firm wallet-adopt books" in str(caught.value)
    told = run("check", home)
    assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    shown = CliRunner().invoke(app, ["firm", "wallet", "--home", str(home)])
    assert (shown.exit_code, shown.stdout.startswith("More was spent than this. ")) == (1, True)
    assert "more round" not in shown.stdout
    document = json.loads(CliRunner().invoke(app, ["firm", "wallet", "--home", str(home), "--json"]).stdout)
    assert (document["ok"], document["accounts"][0]["next"]) == (False, None)
    said = facts(run("adopt", home, "--json"))
    assert (said["rows_taken"], said["booked_from_ledger"]) == ((4, 0) if journal else (0, 2))
    assert purposes(home) == paid
    with Wallet(home / "wallet.sqlite") as wallet:
        (account,) = wallet.report()
        assert account.total.steps == {(20_000_000, 1_000_000): 3}  # the ledger says what was released, too
        assert [one.occasion.number for one in wallet.purchases()] == [1, 2, 3]
    shown = CliRunner().invoke(app, ["firm", "wallet", "--home", str(home), "--json"])
    assert json.loads(shown.stdout)["problem"] is None
    charge(home)


def test_without_wallet_and_journal_the_ledger_knows_what_was_spent(home: Path) -> None:
    paid = purposes(home)
    _remove_wallet(home)
    (home / "wallet.rows").unlink()
    with pytest.raises(WalletBehind, match="the ledger shows 3 contributions of firm-2"):
        charge(home)
    facts(run("adopt", home, "--json"))
    assert purposes(home) == paid
    charge(home)


def test_what_is_booked_counts_even_over_the_cap(home: Path) -> None:
    _remove_wallet(home)
    (home / "wallet.rows").unlink()
    config = home / "firm.toml"
    config.write_text(config.read_text().replace("epsilon = 8.0", "epsilon = 0.01"))
    facts(run("adopt", home, "--json"))
    assert len(purposes(home)) == 3
    with pytest.raises(OverCap):
        charge(home)


def test_a_task_that_is_gone_is_not_booked_under_another(home: Path) -> None:
    _remove_wallet(home)
    (home / "wallet.rows").unlink()
    config = home / "firm.toml"
    config.write_text(config.read_text().replace('name = "credit"', 'name = "other"'))
    told = run("adopt", home)
    assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    assert "takes no part in the task 'credit'" in told.stderr


def test_nor_under_another_name_of_its_data(home: Path) -> None:
    """The table has a new file name, and the wallet lacks rounds: they are paid for by the account that paid before."""
    put_back_older(home, journal=False)
    config = home / "firm.toml"
    config.write_text(config.read_text().replace("data/credit.csv", "data/credit-12.csv"))
    told = run("adopt", home)
    assert (told.exit_code, told.stdout, told.stderr.count("\n"), len(purposes(home))) == (1, "", 1, 1)
    assert 'put dataset = "data/credit.csv"' in told.stderr
    named = 'data = "data/credit-12.csv", dataset = "data/credit.csv"'
    config.write_text(config.read_text().replace('data = "data/credit-12.csv"', named))
    facts(run("adopt", home, "--json"))
    assert len(purposes(home)) == 3
    with Wallet(home / "wallet.sqlite") as wallet:
        assert wallet.account(*ACCOUNT).settled == 3


def test_the_same_wallet_on_two_machines_is_found_out_by_the_ledger(world: Consortium, home: Path) -> None:
    """Each has its own journal, so only the ledger can tell; the mirror of one shows what the other has sent."""
    _remove_wallet(home)
    for ending in ("", "-wal"):
        shutil.copy(home / f"copy-1{ending}", home / f"wallet.sqlite{ending}")
    (home / "wallet.rows").unlink()
    Wallet(home / "wallet.sqlite", journal=home / "wallet.rows").close()
    with pytest.raises(WalletBehind, match="or another machine trains in this firm's name"):
        charge(home)


def test_a_backup_is_read_back_and_restored_over_nothing_and_over_less(home: Path, tmp_path: Path) -> None:
    paid, copy = purposes(home), tmp_path / "backup"
    said = facts(run("backup", home, copy, "--json"))
    assert (said["rows"], copy.stat().st_mode & 0o777) == (7, 0o600)
    assert run("backup", home, copy).exit_code == 2  # never over another file
    assert "nothing to back up" in run("backup", world_without_wallet(home, tmp_path), tmp_path / "b").stderr
    for less in (_remove_wallet, lambda at: put_back_older(at, journal=True)):
        less(home)
        said = facts(run("restore", home, copy, "--json"))
        assert (purposes(home), said["booked_from_ledger"]) == (paid, 0)
    (home / "wallet.rows").unlink()
    _remove_wallet(home)
    assert facts(run("restore", home, copy, "--json"))["rows_taken"] == 7
    charge(home)


def world_without_wallet(home: Path, tmp_path: Path) -> Path:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(home / "firm.toml", bare)
    return bare


def test_an_older_backup_takes_nothing_away(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "backup"
    facts(run("backup", home, copy, "--json"))
    charge(home)
    paid, rows = purposes(home), (home / "wallet.rows").read_bytes()
    said = facts(run("restore", home, copy, "--json"))
    assert (said["rows_taken"], said["booked"]) == (0, 0)
    assert (purposes(home), (home / "wallet.rows").read_bytes()) == (paid, rows)


def test_two_copies_that_were_both_spent_from_are_added_up(home: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(home, tmp_path / "other"))
    charge(home)
    charge(other)
    facts(run("backup", other, tmp_path / "backup", "--json"))
    said = facts(run("restore", home, tmp_path / "backup", "--json"))
    assert (said["rows_taken"], said["booked"]) == (0, 1)
    assert purposes(home)[-2:] == ["credit/next", "credit/next"]
    charge(home)


def test_a_damaged_wallet_is_kept_aside_and_all_that_is_known_put_in_its_place(home: Path, tmp_path: Path) -> None:
    paid = purposes(home)
    facts(run("backup", home, tmp_path / "backup", "--json"))
    charge(home)
    damage(home)
    with pytest.raises(WalletDamaged, match="row 4"):
        charge(home)
    told = run("adopt", home)
    assert told.exit_code == 1
    assert "wallet-restore puts a backup back" in told.stderr
    said = facts(run("restore", home, tmp_path / "backup", "--json"))
    assert (said["aside"], purposes(home)) == (str(home / "wallet.sqlite.damaged-1"), [*paid, "credit/next"])
    assert not [name for name in os.listdir(home) if "restoring" in name]
    charge(home, "credit/after")
    damage(home)
    said = facts(run("restore", home, home / "wallet.rows", "--json"))  # the journal is a copy as well
    assert (said["aside"], len(purposes(home))) == (str(home / "wallet.sqlite.damaged-2"), len(paid) + 2)


def test_what_no_copy_has_is_not_forgotten_in_silence(home: Path, tmp_path: Path) -> None:
    """The journal is damaged in the middle, and knows of a row that no copy reaches."""
    journal, copy = home / "wallet.rows", tmp_path / "backup"
    facts(run("backup", home, copy, "--json"))
    charge(home)
    text = journal.read_bytes()
    journal.write_bytes(text.replace(b"settle", b"cancel", 1))
    told = run("check", home)
    assert "somebody has changed it" in told.stderr
    _remove_wallet(home)
    before = sorted(os.listdir(home))
    told = run("restore", home, copy)
    assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    assert "knows of row 8" in told.stderr
    assert sorted(os.listdir(home)) == before
    journal.rename(home / "moved-away")
    assert facts(run("restore", home, copy, "--json"))["rows"] == 7


def test_a_copy_that_is_none_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no wallet\n")
    before = (home / "wallet.sqlite").read_bytes()
    told = run("restore", home, tmp_path / "text")
    assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert "no whole wallet: after 0 good rows" in told.stderr
    assert run("restore", home, tmp_path / "missing").exit_code == 2
    assert (home / "wallet.sqlite").read_bytes() == before


def test_the_wallet_of_another_firm_is_refused(world: Consortium, home: Path) -> None:
    before = purposes(home)
    others = world.built.member("firm-1") / "wallet.sqlite"
    for copy in (others, others.with_name("wallet.rows")):
        refused = run("restore", home, copy)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "this is the wallet of firm-1 in" in refused.stderr
    assert purposes(home) == before


def test_what_was_compared_is_not_read_again_but_for_each_name_by_itself(home: Path) -> None:
    charge(home)
    with Wallet(home / "wallet.sqlite") as wallet:
        assert wallet.compared("test", NAME) > 0
        assert wallet.compared("test", "firm-1") == wallet.compared("other", NAME) == 0
        done = wallet.compared("test", NAME)

    def entries(start: int, end: int) -> list[bytes]:
        raise AssertionError(f"entries {start} to {end} were read again")

    firm = Firm(home)
    try:
        state = firm.witness.state
        with Wallet(home / "wallet.sqlite") as wallet:
            assert require_booked(wallet, LedgerView(state, done, entries), firm.config) == done
    finally:
        firm.close()


def test_only_final_contributions_of_this_firm_are_compared(world: Consortium) -> None:
    state, entries = world.log.state, world.log.entries
    with Wallet(None) as wallet:
        found = unbooked(wallet, LedgerView(state, world.log.size, entries), NAME)
        assert [(one.task, state.rounds.get(one.round_id) is not None) for one in found] == [("credit", True)] * 3
        first = found[0].entry
        assert unbooked(wallet, LedgerView(state, first, entries), NAME) == []
        assert unbooked(wallet, LedgerView(state, world.log.size, entries), NAME, first + 1) == found[1:]
        assert unbooked(wallet, LedgerView(state, world.log.size, entries), "firm") == []


@pytest.mark.parametrize("damaged", [b"no database at all, but text" * 9, None])
def test_a_damaged_wallet_says_what_mends_it(home: Path, tmp_path: Path, damaged: bytes | None) -> None:
    path = home / "wallet.sqlite"
    if damaged is None:  # the pages after the first are gone
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        damaged = path.read_bytes()[:4096] + b"\x00" * 9000
    _remove_wallet(home)
    path.write_bytes(damaged)
    shown = CliRunner().invoke(app, ["firm", "wallet", "--home", str(home)])
    assert (shown.exit_code, "artesian firm wallet-restore puts a backup back" in shown.stderr) == (2, True)
    facts(run("restore", home, home / "wallet.rows", "--json"))
    assert len(purposes(home)) == 3


def test_a_lost_wallet_is_not_called_one_that_never_was(home: Path, tmp_path: Path) -> None:
    _remove_wallet(home)
    done = run("backup", home, tmp_path / "b")
    assert (done.exit_code, "its journal has" in done.stderr, "wallet-adopt" in done.stderr) == (1, True, True)
    facts(run("adopt", home, "--json"))
    assert "no such folder" in run("backup", home, tmp_path / "nowhere" / "b").stderr
    facts(run("backup", home, tmp_path / "b", "--json"))
