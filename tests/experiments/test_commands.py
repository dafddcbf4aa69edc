"""`simulate`, `demo` and `bench`: outputs where they belong, bad configurations in one line, nothing left behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result

from artesian import app
from experiments.benchmarks import registry, startup
from experiments.benchmarks.figure import Figure

ROOT = Path(__file__).resolve().parents[2] / "experiments"
LOANS = ROOT / "datasets/loans.csv.gz"
SMALL: dict[str, Any] = {
    "name": "small",
    "baselines": False,
    "data": {"spec": str(ROOT / "configs/tasks/loans.toml"), "path": str(LOANS)},
    "partition": {"kind": "iid", "firms": 3},
    "training": {"rounds": 2},
    "privacy": {"epsilon": 3.0, "colluders": 0},
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def configured(directory: Path, **changes: Any) -> Path:
    path = directory / "small.toml"
    document = {key: value for key, value in {**SMALL, **changes}.items() if value is not None}
    path.write_text(tomli_w.dumps(document))
    return path


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_a_simulation_writes_what_it_prints(tmp_path: Path) -> None:
    config, out, home = configured(tmp_path), tmp_path / "new" / "out", tmp_path / "home"
    done = run("simulate", config, "--out", out, "--home", home, "--seed", 5, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (out / "summary.json").read_text()
    summary = json.loads(done.stdout)
    assert (summary["name"], summary["seed"], summary["config"]["seed"]) == ("small", 5, 5)
    assert 0.5 < summary["credit"]["auc_federated"] < 1
    assert (out / "report.html").stat().st_size > 1000
    assert {"firms/firm-1/firm.toml", "coordinator/ledger.db"} <= files(home)
    assert "credit: round 2 of 2" in done.stderr.splitlines()

    again = run("simulate", config, "--home", home)
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr.splitlines()[-1] == f"{home}: is not empty; give an empty or new directory as --home"


def test_a_simulation_for_people_and_without_files(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"ledger": False, "aggregation": {"kind": "plain"}, "privacy": {"mode": "none"}}
    config = configured(tmp_path, baselines=True, **changes)
    before = files(tmp_path)
    done = run("simulate", config)
    assert done.exit_code == 0, done.stderr
    assert "federated" in done.stdout
    assert "each firm alone, worst" in done.stdout
    assert "Privacy: none was asked for; 3 firms, 2 rounds." in done.stdout
    assert files(tmp_path) == before


def test_paths_in_a_configuration_are_relative_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/spec.toml").write_text((ROOT / "configs/tasks/loans.toml").read_text())
    config = configured(tmp_path / "configs", data={"spec": "spec.toml", "path": "../no-table.csv"})
    monkeypatch.chdir(tmp_path)
    wrong = run("simulate", config)
    assert wrong.stderr == f"{tmp_path}/configs/../no-table.csv: cannot be read: No such file or directory\n"
    (tmp_path / "here.csv.gz").write_bytes(LOANS.read_bytes())
    assert run("simulate", config, "--data", "here.csv.gz").exit_code == 0


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"colour": "red"}, "colour: unknown key"),
    "unknown key inside": ({"training": {"round": 3}}, "training.round: unknown key"),
    "negative epsilon": ({"privacy": {"epsilon": -1.0}}, "privacy.epsilon: Input should be greater than 0"),
    "more firms than records": (
        {"partition": {"kind": "iid", "firms": 5000}},
        "partition: 5000 firms for 3117 records; give fewer firms",
    ),
    "too many firms for the classes": ({"partition": {"firms": 1000}}, "too few for 1000 firms"),
    "no table": ({"data": {"spec": SMALL["data"]["spec"]}}, "names no table; give one with --data"),
    "no such spec": ({"data": {**SMALL["data"], "spec": "none.toml"}}, "none.toml: cannot be read: No such file"),
    "a firm that trains as key holder": (
        {"aggregation": {"kind": "encrypted", "key_holder": "firm-1"}},
        "aggregation.key_holder: 'firm-1' is one of the firms that train",
    ),
    "the coordinator as key holder": (
        {"aggregation": {"kind": "encrypted", "key_holder": "coordinator"}},
        "aggregation.key_holder: 'coordinator' adds the updates up and holds no key",
    ),
    "no name as key holder": (
        {"aggregation": {"kind": "encrypted", "key_holder": "../home"}},
        "aggregation.key_holder: ",
    ),
    "no key holder": (
        {"aggregation": {"kind": "encrypted"}},
        "small.toml: aggregation: kind 'encrypted' names a key_hold",
    ),
    "unknown column": (
        {"partition": {"kind": "column", "column": "Colour", "firms": 3}},
        "'column' must name a column of the task spec, not 'Colour'",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_configuration_is_one_line_exit_2_and_nothing_written(tmp_path: Path, kind: str) -> None:
    changes, words = BAD[kind]
    config = configured(tmp_path, **changes)
    before = files(tmp_path)
    wrong = run("simulate", config, "--out", tmp_path / "out", "--home", tmp_path / "home")
    assert (wrong.exit_code, wrong.stdout) == (2, ""), wrong.stderr
    assert words in wrong.stderr.splitlines()[-1]
    assert wrong.stderr.count("\n") == 1, wrong.stderr
    assert files(tmp_path) == before


def test_a_bad_table_is_one_line_exit_2_and_nothing_written(tmp_path: Path) -> None:
    config, table = configured(tmp_path), tmp_path / "loans.csv"
    table.write_text("Status,Age\ngood,30\n")
    before = files(tmp_path)
    wrong = run("simulate", config, "--data", table, "--out", tmp_path / "out", "--home", tmp_path / "home")
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    missing = "column 'Seniority': the column is missing; the table has Status, Age (and "
    assert wrong.stderr.startswith(f"{table}: {missing}")
    told = run("simulate", config, "--data", table, "--json")
    assert (told.exit_code, json.loads(told.stdout)["ok"], told.stderr) == (2, False, "")
    assert files(tmp_path) == before


@pytest.mark.parametrize("text", [b"name =", b"\xff"])
def test_a_configuration_that_is_no_toml(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(text)
    wrong = run("simulate", path)
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert wrong.stderr.startswith(f"{path}: not valid TOML")


@pytest.mark.parametrize("command", ["demo", "simulate"])
def test_an_output_that_cannot_be_is_said_before_the_work(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments import demo, simulation

    def work(*_: Any) -> None:
        pytest.fail("it began to work")

    monkeypatch.setattr(demo, "run_demo", work)
    monkeypatch.setattr(simulation, "simulate", work)
    (tmp_path / "file").write_text("")
    config = [configured(tmp_path)] if command == "simulate" else []
    wrong = run(command, *config, "--out", tmp_path / "file" / "deeper")
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert f"{tmp_path / 'file'} is not a directory; give another --out" in wrong.stderr


# ---------------------------------------------------------------- demo: what it tells is tested where it is


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    from experiments import demo

    asked: dict[str, Any] = {}
    common = {"epsilon": 3.0, "delta": 1e-5, "unit": "one row", "mode": "distributed", "rounds": 9, "firms": 8}
    reasons = [{"code": "age", "text": "Age", "points": -3}]
    summary = {
        "credit": {"auc_federated": 0.8, "auc_central": 0.9, "held_out_records": 7, **common},
        "demand": {"wape_federated": 0.1, "wape_seasonal_naive": 0.2, "held_out_records": 8, **common},
        "ledger": {"entries": 3, "checkpoints": 2, "quorum": 6, "final": True},
        "scores": [{"score": 600, "pd": 0.05, "reasons": reasons, "receipt_ok": True, "latency_ms": 3.2}],
        "audit": {"recomputed": True, "tamper_detected": False},
        "seconds": {"total": 61.2},
    }

    def run_demo(home: Path | None, out: Path, progress: Callable[[str], None]) -> dict[str, Any]:
        asked.update(home=home, out=out)
        progress("founded")
        print("a library's chatter")
        return summary

    monkeypatch.setattr(demo, "run_demo", run_demo)
    return lambda: {"asked": asked, "summary": summary}


def test_the_demo_as_json_prints_its_summary_alone(story: Any, tmp_path: Path) -> None:
    done = run("demo", "--out", tmp_path / "out", "--home", tmp_path / "home", "--json")
    told = story()
    assert (done.exit_code, json.loads(done.stdout)) == (0, told["summary"])
    assert told["asked"] == {"home": tmp_path / "home", "out": tmp_path / "out"}
    assert done.stderr == "founded\na library's chatter\n"


def test_the_demo_for_people(story: Any, tmp_path: Path) -> None:
    shown = run("demo", "--out", tmp_path / "out").stdout
    for words in (
        "credit, 7 held-out records",
        "0.8000",
        "same day a week before",
        "epsilon 3 at delta 1e-05 for one row, distributed; 8 firms, 9 rounds",
        "Ledger: 3 entries, 2 checkpoints, quorum 6, all of it final",
        "Score 600, pd 5.0%, receipt holds, 3.2 ms, first reason: Age",
        "aggregate recomputed yes, tampering found no",
        "Time: total 61.2 s",
        "report.html",
    ):
        assert words in shown, words


# ---------------------------------------------------------------- bench


def test_a_benchmark_that_is_not_there() -> None:
    wrong = run("bench", "startup", "abacus")
    assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert wrong.stderr.startswith("no benchmark 'abacus'; there are startup, masked_round")


def test_every_benchmark_is_there() -> None:
    for name in registry.BENCHMARKS:
        assert callable(registry.benchmark(name))


def test_figures_as_a_table_and_as_one_document(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = [Figure("lamp", 1234.5, "ms", {"candle": 0.25}, 9, "artesian bench startup"), Figure("oil", 2.0, "l")]
    monkeypatch.setattr(startup, "run", lambda: figures)
    done = run("bench", "startup", "--json")
    assert json.loads(done.stdout) == [figure.to_json() for figure in figures]
    assert len(done.stdout.splitlines()) == 4  # one figure a line
    shown = run("bench", "startup")
    assert "1,234 ms" in shown.stdout
    assert "candle: 0.25" in shown.stdout
    assert shown.stderr == "startup: how long artesian --help takes\n"


def test_startup_is_measured_beside_an_empty_interpreter() -> None:
    (figure,) = startup.run(runs=1)
    assert (figure.unit, figure.runs) == ("ms", 1)
    assert 0 < figure.beside["python -c pass"] < figure.value
