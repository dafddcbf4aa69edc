"""The list of refusals: newest first, bounded, for the owner's eyes alone."""

from pathlib import Path

import pytest

from clients.refusal_log import FILE, RefusalLog, RefusalsUnreadable, Refused


def test_refusals_are_read_newest_first_and_counted_by_code(tmp_path: Path) -> None:
    log = RefusalLog(tmp_path, now=lambda: 5.0)
    assert log.latest(10) == []
    assert log.by_code() == {}
    log.note("train.update", b"\x01", "OverCap", "two\nlines")
    log.note("query.hello", b"", "SittingOut", "until Monday")
    assert log.latest(10) == [
        Refused(5.0, "query.hello", "", "SittingOut", "until Monday"),
        Refused(5.0, "train.update", "01", "OverCap", "two lines"),
    ]
    assert log.latest(1)[0].code == "SittingOut"
    assert log.by_code() == {"OverCap": 1, "SittingOut": 1}
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_the_oldest_go_when_there_are_too_many_and_no_line_is_long(tmp_path: Path) -> None:
    log = RefusalLog(tmp_path, most_rows=3)
    for number in range(10):
        log.note("train.update", b"", str(number), "x" * 10_000)
    assert [one.code for one in log.latest(100)] == ["9", "8", "7"]
    assert len(log.latest(1)[0].detail) == 500


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(RefusalsUnreadable, match=FILE):
        RefusalLog(tmp_path).latest(1)
