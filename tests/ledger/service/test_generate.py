"""What is committed as generated is what ledger.proto says."""

from pathlib import Path

from ledger.service import generate


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    generate.generate(tmp_path)
    for name in generate.GENERATED:
        committed = generate.ROOT / "ledger" / "service" / name
        assert (tmp_path / "ledger" / "service" / name).read_text() == committed.read_text(), (
            f"{name} is old: run python -m ledger.service.generate"
        )
