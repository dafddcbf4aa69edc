"""What is committed as generated is what scores.proto says."""

from pathlib import Path

from clients.scoring import generate


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    generate.generate(tmp_path)
    for name in generate.GENERATED:
        committed = generate.ROOT / "clients" / "scoring" / name
        assert (tmp_path / "clients" / "scoring" / name).read_text() == committed.read_text(), (
            f"{name} is old: run python -m clients.scoring.generate"
        )
