"""The lines of our processes' logs; JSON lines, which are collected elsewhere, quote no record."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from federation_world import federation, opened, train, training

from clients.disclosure import told
from clients.process_log import JsonLines, about, log_to_stderr
from server.cohort import RunFailed


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What is logged from here on, as the executor of a firm says it in JSON."""
    found: list[dict[str, object]] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(self.format(record)))

    handler = Kept()
    handler.setFormatter(JsonLines("executor", told))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    return found


def test_a_line_says_what_is_known(lines: list[dict[str, object]]) -> None:
    with about(task="credit", round=3):
        logging.getLogger("artesian.x").warning("%s is %d%% done", "it", 50, extra={"member": "firm-1"})
    logging.getLogger("artesian.x").error("over %(what)s", {"what": "there"})
    first, second = lines
    assert first["text"] == "it is 50% done"
    assert (first["level"], first["process"]) == ("warning", "executor")
    assert (first["member"], first["task"], first["round"]) == ("firm-1", "credit", 3)
    assert str(first["time"]).endswith("+00:00")
    assert (second["text"], second["level"]) == ("over there", "error")
    assert not {"member", "task", "round", "code"} & second.keys()


def test_a_refusal_over_a_bad_cell_does_not_put_the_cell_into_json_lines(
    tmp_path: Path, lines: list[dict[str, object]]
) -> None:
    built = federation(tmp_path / "f", 3, training(1))
    data = built.member("firm-2") / "data" / "credit.csv"
    data.write_text(data.read_text().replace("default", "secret-4711", 1))
    with opened(built) as coordinator, pytest.raises(RunFailed):
        train(built, coordinator)
    refused = [one for one in lines if one.get("code") == "Unready"]
    assert refused
    assert refused[0]["member"] == "firm-2"
    assert "secret-4711" not in json.dumps(lines)
    assert "credit.csv" not in json.dumps(lines)


def test_a_traceback_stays_out_of_json_lines(lines: list[dict[str, object]]) -> None:
    try:
        raise RuntimeError("customer 4711 earns 54321")
    except RuntimeError:
        logging.getLogger("artesian.firm").exception("it failed")
    assert lines[0]["code"] == "Unready"
    assert "4711" not in json.dumps(lines)


@pytest.mark.parametrize("form", ["json", ""])
def test_a_process_logs_as_it_is_told(
    form: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, ours = logging.getLogger(), logging.getLogger("artesian")
    monkeypatch.setattr(root, "handlers", [])
    before = root.level, ours.level
    try:
        log_to_stderr("runner", environment={"ARTESIAN_LOG_FORMAT": form})
        logging.getLogger("artesian.coordinator").info("round %d", 1)
        logging.getLogger("another").info("not told")
    finally:
        root.setLevel(before[0])
        ours.setLevel(before[1])
    (line,) = capsys.readouterr().err.splitlines()
    if form:
        assert json.loads(line)["process"] == "runner"
    else:
        assert line == "artesian.coordinator INFO round 1"
