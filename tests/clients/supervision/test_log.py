"""One stream of lines: cut, bounded, with the level that the process names, harmless to a terminal."""

import io
import json
import threading
from pathlib import Path

import pytest

from clients.supervision import log_stream
from clients.supervision.log_lines import MAX_LINE, LineCutter, read_line
from clients.supervision.log_stream import LogStream


def test_lines_are_cut_wherever_the_chunks_end() -> None:
    cutter = LineCutter()
    text = "first\r\nsecond one\n\nthird"
    found = [line for byte in text.encode() for line in cutter.feed(bytes([byte]))]
    assert [*found, *cutter.rest()] == ["first", "second one", "", "third"]
    assert list(cutter.rest()) == []


def test_a_line_without_an_end_takes_no_memory() -> None:
    cutter = LineCutter()
    for _ in range(100):
        assert list(cutter.feed(b"x" * MAX_LINE)) == []
    assert list(cutter.feed(b"y\nnext\n")) == ["x" * MAX_LINE + "…", "next"]


@pytest.mark.parametrize(
    ("raw", "level", "text"),
    [
        ("serving on 1:2", "info", "serving on 1:2"),
        ("\x1b[92mINFO \x1b[0m:      Starting Flower", "info", "Starting Flower"),
        ("WARNING :   slow", "warning", "slow"),
        ("[ERROR] gone", "error", "gone"),
        ("artesian.superlink WARNING refused", "warning", "refused"),
        ("an info is not a level", "info", "an info is not a level"),
        ("CRITICAL: worse", "error", "worse"),
        ("information is not a level", "info", "information is not a level"),
        ('{"level": "warning", "text": "late", "time": "x", "process": "y"}', "warning", "late"),
        ('{"level": "info", "event": "round", "number": 3}', "info", 'round {"number": 3}'),
        ('{"level": 3}', "info", '{"level": 3}'),
        ("2026-11-22 18:40:50 entry 7 is mirrored", "info", "entry 7 is mirrored"),
        ("2026-11-22T18:40:50.123Z WARNING slow", "warning", "slow"),
        ("[2026-11-22 18:40:50,123 +0100] - ERROR gone", "error", "gone"),
        ("2026-11-22 is a Sunday", "info", "2026-11-22 is a Sunday"),
        ("until 2026-11-22 18:40:50 at most", "info", "until 2026-11-22 18:40:50 at most"),
        ("{not json", "info", "{not json"),
        ("\u202egnp.exe\x07", "info", "\\u202egnp.exe\\u0007"),
    ],
)
def test_a_line_has_the_level_that_it_names(raw: str, level: str, text: str) -> None:
    line = read_line(0, "ledger", raw)
    assert line is not None
    assert (line.level, line.text) == (level, text)
    assert line.plain() == f"1970-01-01T00:00:00Z ledger {level} {text}"
    assert json.loads(line.json()) == {"time": "1970-01-01T00:00:00Z", "name": "ledger", "level": level, "text": text}


def test_a_supervisors_line_keeps_the_name_of_the_program_below(tmp_path: Path) -> None:
    raw = read_line(0, "x", "hello")
    assert raw is not None
    line = read_line(0, "firm-1", raw.json().replace('"x"', '"wit/ness"'))
    assert line is not None
    assert (line.name, line.text) == ("firm-1/wit_ness", "hello")
    stream = LogStream(tmp_path, "none", lambda: 0.0, [].append)
    assert stream.take("firm-1", raw.json()) == "hello"
    stream.close()
    assert [path.name for path in tmp_path.iterdir()] == ["firm-1.log"]


def test_an_empty_line_is_none() -> None:
    assert read_line(0, "ledger", " \x1b[0m ") is None


def test_the_stream_shows_every_line_and_keeps_it_by_program(tmp_path: Path) -> None:
    out = list[str]()
    stream = LogStream(tmp_path / "logs", "json", lambda: 0.0, out.append)
    assert stream.take("ledger", "WARNING: slow") == "slow"
    assert stream.take("ledger", "") == ""
    stream.say("ledger is ready")
    stream.close()
    assert [json.loads(line)["name"] for line in out] == ["ledger", "supervisor"]
    assert (tmp_path / "logs" / "ledger.log").read_text() == "1970-01-01T00:00:00Z ledger warning slow\n"


def test_files_rotate_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "MAX_FILE", 1000)
    stream = LogStream(tmp_path, "text", lambda: 0.0, [].append)
    for number in range(200):
        stream.take("ledger", f"line {number}")
    stream.close()
    files = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(files) == {"ledger.log", "ledger.log.1", "ledger.log.2", "ledger.log.3"}
    assert max(files.values()) <= 1000


def test_a_reader_that_went_away_and_a_disk_that_refuses_stop_nothing(tmp_path: Path) -> None:
    out = io.StringIO()
    out.close()
    stream = LogStream(tmp_path, "text", lambda: 0.0, lambda text: print(text, file=out))
    (tmp_path / "ledger.log").mkdir()
    assert stream.take("ledger", "hello") == "hello"
    stream.close()


def test_a_reader_that_stops_reading_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "MOST_WAITING", 10)
    monkeypatch.setattr(log_stream, "_LAST_WORDS_S", 0.01)
    reads = threading.Event()
    shown = list[str]()

    def out(text: str) -> None:
        reads.wait(60)
        shown.append(text)

    stream = LogStream(tmp_path, "text", lambda: 0.0, out)
    for number in range(100):
        stream.take("ledger", f"line {number}")
    stream.close()
    assert shown == []
    assert len((tmp_path / "ledger.log").read_text().splitlines()) == 100
    reads.set()
