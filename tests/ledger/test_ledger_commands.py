"""`artesian ledger`: exit codes, one line for people, one document for programs."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from consortium_simulator import Consortium
from typer.testing import CliRunner

from ledger.commands import app
from ledger.commands.progress import progress


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = Consortium(firms=3, location=tmp_path / "ledger.db")
    made.task()
    made.cosign()
    (tmp_path / "policy.txt").write_text(made.log.policy.text())
    (tmp_path / "receipt").write_bytes(made.log.receipt(2))
    (tmp_path / "statement").write_bytes(made.log.entries(2, 3)[0])
    made.log.close()
    return tmp_path


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def verify(home: Path, *more: str) -> tuple[int, str, str]:
    files = ["--statement", home / "statement", "--policy", home / "policy.txt"]
    return run("verify", home / "receipt", *files, *more)


def test_verify(home: Path) -> None:
    code, out, _ = verify(home)
    assert code == 0
    assert "The receipt holds." in out
    code, out, err = verify(home, "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["ok"] is True
    assert facts["index"] == 2
    assert facts["record"]["member"] == "firm-1"


def test_verify_says_no(home: Path) -> None:
    receipt = bytearray((home / "receipt").read_bytes())
    receipt[40] ^= 1
    (home / "receipt").write_bytes(bytes(receipt))
    code, out, err = verify(home)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    code, out, _ = verify(home, "--json")
    assert code == 1
    assert json.loads(out)["ok"] is False


def test_verify_with_files_that_are_none(home: Path) -> None:
    (home / "statement").write_bytes(b"\xff\xfe")
    assert verify(home)[0] == 2
    (home / "statement").unlink()
    code, _, err = verify(home)
    assert code == 2
    assert "No such file" in err
    (home / "policy.txt").write_bytes(b"\xff\xfe")
    assert verify(home)[0] == 2


def test_a_policy_that_is_none_is_named(home: Path) -> None:
    (home / "policy.txt").write_text("bill of lading")
    code, _, err = verify(home)
    assert (code, err.startswith(f"{home}/policy.txt: policy line 1")) == (2, True), err
    (home / "policy.txt").unlink()
    code, _, err = verify(home)
    assert (code, "start the witness first" in err) == (2, True), err


def test_audit(home: Path) -> None:
    code, out, _ = run("audit", "--home", home)
    assert code == 0
    assert "Nothing is wrong." in out
    code, out, _ = run("audit", "--db", home / "ledger.db", "--policy", home / "policy.txt", "--json")
    assert code == 0
    assert json.loads(out)["final_size"] == 6


def test_audit_says_no(home: Path) -> None:
    with sqlite3.connect(home / "ledger.db") as database:
        database.execute("UPDATE entries SET raw = zeroblob(5) WHERE idx = 3")
    code, out, _ = run("audit", "--home", home)
    assert code == 1
    assert "entry 3" in out
    code, out, _ = run("audit", "--home", home, "--json")
    assert code == 1
    assert json.loads(out)["ok"] is False


def test_show(home: Path) -> None:
    code, out, _ = run("show", "--home", home)
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["policy", *["enrol"] * 4, "task"]
    code, out, _ = run("show", "--home", home, "--last", 1, "--json")
    facts = json.loads(out)
    assert (facts["size"], [entry["index"] for entry in facts["entries"]]) == (6, [5])
    for arguments, indices in ((["--from", 4], [4, 5]), (["--from", 2, "--last", 1], [5]), (["--from", 9], [])):
        _, out, _ = run("show", "--home", home, *arguments, "--json")
        assert [entry["index"] for entry in json.loads(out)["entries"]] == indices


def test_show_says_when_there_is_nothing_to_show(home: Path) -> None:
    code, out, _ = run("show", "--home", home, "--from", 9)
    assert (code, out) == (0, "There is no entry 9: artesian.example/c-1 has 6 entries here.\n")


def test_trace_says_when_there_is_nothing_to_trace(home: Path) -> None:
    code, out, _ = run("trace", "flour-1", "--home", home)
    assert (code, out) == (0, "No entry is about flour-1.\n")
    code, out, _ = run("trace", "flour-1", "--home", home, "--file", home / "statement")
    assert (code, out) == (1, f"No entry is about flour-1, and none attests {home}/statement.\n")
    code, out, _ = run("trace", "flour-1", "--home", home, "--json")
    assert (code, json.loads(out)["entries"]) == (0, [])


def test_an_export_to_where_nothing_can_be_written_is_wrong_input(home: Path) -> None:
    (home / "file").write_text("")
    for place in ("/proc/x", home / "file", home / "file" / "x", home):
        code, out, err = run("export", place, "--home", home)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith(f"{place}: "), err


def test_no_error_names_a_file_of_the_programs_own(home: Path) -> None:
    """Temporary and lock files mean nothing to whoever reads the line."""
    for arguments in (
        ["mirror", home, "--out", home / "none" / "m.db", "--policy", home / "policy.txt"],
        ["mirror", home, "--out", "/proc/m.db", "--policy", home / "policy.txt"],
    ):
        code, _, err = run(*arguments)
        assert (code, err.count("\n")) == (2, 1), err
        assert ".lock" not in err, err
        assert "/." not in err, err


def test_show_holds_entries_against_their_digests(home: Path) -> None:
    with sqlite3.connect(home / "ledger.db") as database:
        database.execute("UPDATE entries SET digest = zeroblob(32) WHERE idx = 3")
    code, out, err = run("show", "--home", home)
    assert (code, out) == (1, "")
    assert "entry 3" in err


def test_policy(home: Path) -> None:
    code, out, _ = run("policy", "--home", home)
    assert code == 0
    assert out == (home / "policy.txt").read_text()


def test_usage(tmp_path: Path) -> None:
    for arguments in (["show"], ["audit"], ["show", "--home", tmp_path], ["show", "--db", tmp_path / "x.db"]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1


def paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group, by the words that call it."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))


COMMANDS = list(paths(typer.main.get_command(app)))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_ends_with_an_example(command: tuple[str, ...]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    shown = " ".join(out.split())
    assert " ".join(["Example: artesian ledger", *command]) in shown
    leaf = not any(other[: len(command)] == command for other in COMMANDS if other != command)
    assert ("--json" in shown) is (leaf or command == ("members",))


def test_help_imports_nothing_heavy() -> None:
    heavy = ("grpc", "cryptography", "sqlalchemy", "cbor2")
    code = (
        f"import sys, artesian; artesian.run(['ledger', '--help']); sys.exit(' '.join(set({heavy}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_progress_in_a_pipe_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = iter([0.0, 1.0, 11.0, 11.0, 12.0, 22.0, 22.0])
    with progress("auditing", lambda: next(now_s)) as at:
        for done in (1, 2, 3, 4):
            at(done * 100, 1000)
    assert capsys.readouterr().err == "auditing: 200 of 1000 entries\nauditing: 400 of 1000 entries\n"


def test_an_audit_says_how_far_it_is_to_people_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.commands.progress._LINE_S", 0.0)
    assert "auditing: " in run("audit", "--home", home)[2]
    code, out, err = run("audit", "--home", home, "--json")
    assert (code, json.loads(out)["ok"], err) == (0, True, "")


def test_no_command_is_lost() -> None:
    wanted = {"init", "serve", "show", "trace", "attest", "verify", "audit", "export", "mirror", "evidence", "handover"}
    assert wanted | {"members", "witness", "submit", "backup", "restore"} <= {path[0] for path in COMMANDS if path}


def test_text_of_others_is_shown_not_obeyed(tmp_path: Path) -> None:
    made = Consortium(firms=3, location=tmp_path / "ledger.db")
    payload = made.payload("attest", subject="s", artifact=made.hash())
    from ledger.statement import sign_statement

    hostile = sign_statement(payload, issuer="firm-0", subject="\x1b[2J\nforged line", key=made.keys["firm-0"])
    made.log.append([hostile])
    made.log.close()
    _, out, _ = run("show", "--home", tmp_path)
    assert "\x1b" not in out
    assert out.splitlines()[-1].endswith("\\u001b[2J\\u000aforged line")
