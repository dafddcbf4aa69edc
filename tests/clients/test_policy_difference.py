"""What a proposed policy changes is shown whole, in a time that its text cannot stretch."""

from __future__ import annotations

from pathlib import Path

from clients.policy_difference import MOST_PAIRS, difference


def test_lines_that_differ_are_shown_with_their_signs_and_their_file(tmp_path: Path) -> None:
    (tmp_path / "consortium.toml").write_text("a = 1\nb = 2\nc = 3\n")
    shown = difference(tmp_path, b"a = 1\nb = 4\nc = 3\n", {"loans": b"x = 1"})
    assert shown[:3] == ["--- consortium.toml (now)", "+++ consortium.toml (new)", "@@ -1,3 +1,3 @@"]
    assert {"-b = 2", "+b = 4", "+++ tasks/loans.toml (new)", "+x = 1"} <= set(shown)
    assert "+a = 1" not in shown


def test_files_that_would_take_long_to_compare_are_shown_as_they_are(tmp_path: Path) -> None:
    old = [f"# {number}" for number in range(30_000)]  # in the other order every pair of lines would be looked at
    assert len(old) ** 2 > MOST_PAIRS
    (tmp_path / "consortium.toml").write_text("\n".join(old))
    shown = difference(tmp_path, "\n".join(reversed(old)).encode(), {})
    assert shown[2:] == [f"-{line}" for line in old] + [f"+{line}" for line in reversed(old)]
    assert difference(tmp_path, "\n".join(old).encode(), {}) == []
