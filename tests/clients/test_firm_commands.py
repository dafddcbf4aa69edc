"""A firm checks its table before anything is spent, and looks at its wallet and its place without changing them."""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from artesian import app
from clients.firm import Firm
from clients.masking.errors import EpochEnded
from clients.wallet import Wallet
from experiments.simulation import simulate
from experiments.simulation_config import SimulationConfig
from ledger.replay import replay

ROOT = Path(__file__).resolve().parents[2] / "experiments"
SPEC = ROOT / "configs/tasks/loans.toml"
LOANS = gzip.decompress((ROOT / "datasets/loans.csv.gz").read_bytes()).decode().splitlines()
ROWS = 400


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["firm", *(str(a) for a in arguments)])


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_series_too_short_for_one_unit_do_not_fit(tmp_path: Path) -> None:
    lines = gzip.decompress((ROOT / "datasets/stores.csv.gz").read_bytes()).decode().splitlines()
    short = tmp_path / "short.csv"
    short.write_text("\n".join(lines[:10]) + "\n")
    result = run("check", "--spec", ROOT / "configs/tasks/stores.toml", "--data", short)
    assert result.exit_code == 2
    assert "no series has 56 days" in result.stderr
    assert result.stdout == ""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "loans.csv"
    path.write_text("\n".join(LOANS[: ROWS + 1]) + "\n")
    return path


def edit(path: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    rows = change([line.split(",") for line in path.read_text().splitlines()])
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")


def put(column: str, row: int, value: str) -> Callable[[list[list[str]]], list[list[str]]]:
    def change(rows: list[list[str]]) -> list[list[str]]:
        rows[row][rows[0].index(column)] = value
        return rows

    return change


def without(column: str) -> Callable[[list[list[str]]], list[list[str]]]:
    def change(rows: list[list[str]]) -> list[list[str]]:
        place = rows[0].index(column)
        return [row[:place] + row[place + 1 :] for row in rows]

    return change


def test_a_table_that_fits(table: Path) -> None:
    done = run("check", "--spec", SPEC, "--data", table, "--json")
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["ok"], facts["rows"], facts["units"]) == (0, True, ROWS, ROWS)
    assert facts["privacy_unit"] == "one row"
    assert sum(facts["classes"].values()) == ROWS
    shown = run("check", "--spec", SPEC, "--data", table)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert f"{ROWS} rows" in shown.stdout


def test_a_table_of_series_that_fits() -> None:
    done = run("check", "--spec", ROOT / "configs/tasks/stores.toml", "--data", ROOT / "datasets/stores.csv.gz")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "56 days of one Store; 1046 units" in done.stdout
    assert "Series: 64, 2013-01-01 to 2015-07-31" in done.stdout


BAD = {
    "missing column": (without("Age"), "column 'Age': the column is missing"),
    "wrong type": (put("Age", 7, "old"), "column 'Age', row 7: 'old' is not a number"),
    "outside bounds": (put("Age", 3, "17"), "column 'Age', row 3: '17' is outside 18 to 100 years"),
    "unknown category": (put("Home", 400, "boat"), "column 'Home', row 400: unknown category 'boat'"),
    "no rows": (lambda rows: rows[:1], "the table has no rows"),
    "one class only": (
        lambda rows: [rows[0], *(row for row in rows if row[0] == "good")],
        "column 'Status': every record is negative: training needs both classes",
    ),
    "missing value": (put("Age", 2, ""), "column 'Age', row 2: the value is missing"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_exit_2_and_nothing_changed(table: Path, kind: str) -> None:
    change, words = BAD[kind]
    edit(table, change)
    before = snapshot(table.parent)
    wrong = run("check", "--spec", SPEC, "--data", table)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1), wrong.stderr
    assert wrong.stderr.startswith(f"{table}: ")
    assert words in wrong.stderr
    told = run("check", "--spec", SPEC, "--data", table, "--json")
    document = json.loads(told.stdout)
    assert (told.exit_code, told.stderr, document["ok"], document["count"]) == (2, "", False, 1)
    assert snapshot(table.parent) == before


def test_many_violations_are_the_first_ten_and_their_count(table: Path) -> None:
    def old(rows: list[list[str]]) -> list[list[str]]:
        for row in range(1, 13):
            put("Age", row, "170")(rows)
        return rows

    edit(table, old)
    wrong = run("check", "--spec", SPEC, "--data", table)
    lines = wrong.stderr.splitlines()
    assert (wrong.exit_code, wrong.stdout, len(lines)) == (2, "", 11)
    assert "column 'Age', row 10: '170' is outside" in lines[9]
    assert lines[10] == f"{table}: 12 violations; the first 10 are shown"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("table.csv", b"\xff\xfe\x00", "damaged or not a table"),
        ("table.csv.gz", b"not gzip", "cannot be read"),
        ("table.parquet", b"not parquet", "damaged or not a table"),
        ("table.xls", b"", "not one of .csv"),
        ("missing.csv", None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    wrong = run("check", "--spec", SPEC, "--data", tmp_path / name)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert words in wrong.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [("name = ", "not valid TOML"), ('nmae = "x"', ""), ("\udcff", "not valid TOML")],
)
def test_a_spec_that_is_none_is_one_line(tmp_path: Path, table: Path, text: str, words: str) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_bytes(text.encode(errors="surrogateescape"))
    wrong = run("check", "--spec", spec, "--data", table)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert wrong.stderr.startswith(f"{spec}: {words}")


# ---------------------------------------------------------------- wallet and status of a firm that took part


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a firm that has contributed to three rounds."""
    asked: dict[str, Any] = {
        "baselines": False,
        "data": {"spec": "-"},
        "partition": {"kind": "iid", "firms": 3},
        "training": {"rounds": 3},
        "privacy": {"epsilon": 2.0, "colluders": 0},
    }
    place = tmp_path_factory.mktemp("federation") / "home"
    config = SimulationConfig.model_validate(asked)
    simulate(config, SPEC, ROOT / "datasets/loans.csv.gz", place, lambda _: None)
    return place / "firms" / "firm-1"


def test_the_wallet_says_what_is_spent(home: Path) -> None:
    facts = json.loads(run("wallet", "--home", home, "--json").stdout)
    (account,) = facts["accounts"]
    assert facts["ok"] is True
    assert account["cap"] == {"epsilon": 2.0, "delta": 1e-5}
    assert 1.9 < account["spent_epsilon"] <= 2.0
    assert (account["settled"], account["open_reservations"]) == (3, 0)
    assert "of 2 spent at delta 1e-05, in 3 rounds" in run("wallet", "--home", home).stdout


def test_status_says_where_the_firm_stands(home: Path) -> None:
    done = run("status", "--home", home, "--json")
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["member"], facts["consortium"]) == (0, "firm-1", "simulation")
    task = {"name": "credit", "declared_units": 1000, "data": "data/credit.csv", "privacy_unit": "one row"}
    assert facts["tasks"] == [task]
    rounds = facts["ledger"]["rounds"]["credit"]
    assert (rounds["contributions"], len(rounds["latest"])) == (3, 3)
    entries = [one["entry"] for one in rounds["latest"]]
    assert entries == sorted(entries, reverse=True)
    assert max(entries) < facts["ledger"]["size"]
    shown = run("status", "--home", home)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "Rounds of credit with a contribution of this firm: 3" in shown.stdout


def test_a_firm_that_is_suspended_is_told_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shut_out(*arguments: Any, **named: Any) -> SimpleNamespace:
        state = replay(*arguments, **named).state
        known = state.members.get("firm-1")
        assert known is not None
        member = replace(known, active=False)
        return SimpleNamespace(state=replace(state, members=state.members.set("firm-1", member)))

    assert "suspended" not in run("status", "--home", home).stdout
    monkeypatch.setattr("ledger.replay.replay", shut_out)
    assert "This firm is suspended" in run("status", "--home", home).stdout
    assert json.loads(run("status", "--home", home, "--json").stdout)["ledger"]["suspended"] is True


@pytest.mark.parametrize("gone", [("wallet.sqlite",), ("wallet.sqlite", "wallet.rows")])
def test_a_forgotten_wallet_is_told_before_what_it_says(home: Path, tmp_path: Path, gone: tuple[str, ...]) -> None:
    """Whether its journal knows better, or the ledger alone: neither status nor statement tells too small a spend."""
    copy = tmp_path / "firm"
    shutil.copytree(home, copy)
    for name in gone:
        (copy / name).unlink()
    shown = run("status", "--home", copy)
    assert shown.exit_code == 1
    assert shown.stdout.index("More was spent than the wallet says below.") < shown.stdout.index("epsilon 0 of 2 spent")
    facts = json.loads(run("status", "--home", copy, "--json").stdout)
    assert (facts["ok"], facts["problem"] is None) == (False, False)
    for rest in [], ["--language", "zh"]:
        told = run("privacy-statement", "--home", copy, *rest)
        assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (1, "", 1)
        assert "more was spent than the wallet says" in told.stderr
    refused = run("privacy-statement", "--home", copy, "--json")
    assert (refused.exit_code, json.loads(refused.stdout).keys()) == (1, {"ok", "problem"})
    assert run("privacy-statement", "--home", home).exit_code == 0


def test_status_answers_beside_a_running_client(home: Path) -> None:
    firm = Firm(home)
    try:
        size = firm.witness.size  # it holds the mirror's lock from here on
        assert json.loads(run("status", "--home", home, "--json").stdout)["ledger"]["size"] == size
    finally:
        firm.close()


def test_to_look_does_not_bind(home: Path) -> None:
    """`firm.toml` with a smaller epsilon lowers the cap for good when the client runs, not when someone looks."""
    config = home / "firm.toml"
    text = config.read_text()
    with Wallet(home / "wallet.sqlite") as wallet:
        before = wallet.head
    config.write_text(text.replace("epsilon = 2.0", "epsilon = 0.5"))
    try:
        for command in ("wallet", "status"):
            assert run(command, "--home", home).exit_code == 0
    finally:
        config.write_text(text)
    with Wallet(home / "wallet.sqlite") as wallet:
        assert wallet.head == before


def test_a_firm_that_never_ran_has_spent_nothing_and_gets_no_files(home: Path, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/credit.toml").write_text(SPEC.read_text())
    (tmp_path / "firm.toml").write_text((home / "firm.toml").read_text())
    before = snapshot(tmp_path)
    (account,) = json.loads(run("wallet", "--home", tmp_path, "--json").stdout)["accounts"]
    assert (account["spent_epsilon"], account["settled"]) == (0.0, 0)
    assert "nothing mirrored yet" in run("status", "--home", tmp_path).stdout
    assert snapshot(tmp_path) == before


def test_a_changed_mirror_is_told(home: Path, tmp_path: Path) -> None:
    import sqlite3

    copy = tmp_path / "firm"
    shutil.copytree(home, copy)
    with sqlite3.connect(copy / "mirror.db") as database:
        (raw,) = database.execute("SELECT raw FROM entries WHERE idx = 5").fetchone()
        database.execute("UPDATE entries SET raw = ? WHERE idx = 5", (raw[:-1] + bytes([raw[-1] ^ 1]),))
    database.close()
    told = run("status", "--home", copy)
    assert (told.exit_code, told.stdout, told.stderr.count("\n")) == (1, "", 1)
    assert "entry 5" in told.stderr


def test_an_epoch_ends_on_the_operators_word(home: Path, tmp_path: Path) -> None:
    """Beside a running client, and once: the second time there is nothing left."""
    copy = tmp_path / "firm"
    shutil.copytree(home, copy)
    client = Firm(copy)
    assert client.round_secrets.current() is not None
    said = json.loads(run("forget-epoch", "--home", copy, "--json").stdout)
    files = ["epoch-1.key", "epoch-1.pairs", "epoch-1.roster", "round.kept", "wrapping.key"]
    assert said == {"ok": True, "member": "firm-1", "epoch": 1, "destroyed": files, "held_key_destroyed": False}
    assert [path.name for path in (copy / "masking").iterdir()] == ["ended"]
    with pytest.raises(EpochEnded):
        client.round_secrets.pairs(1)
    again = run("forget-epoch", "--home", copy)
    assert (again.exit_code, again.stdout) == (0, "firm-1 holds no masking secrets.\n")
    assert json.loads(run("forget-epoch", "--home", copy, "--json").stdout)["epoch"] is None
