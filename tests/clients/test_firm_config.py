"""`firm.toml`: defaults that protect, and one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.firm_config import FirmConfigInvalid, load_firm_config
from clients.size_buckets import bucket, buckets_around

GOOD = """
member = "firm-1"
cid = "timber"
[[task]]
name = "credit"
spec = "tasks/credit.toml"
data = "data/credit.csv"
units = 100
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "firm.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_not_said_protects(tmp_path: Path) -> None:
    config = load_firm_config(write(tmp_path, GOOD))
    limits = config.limits
    assert (limits.min_cohort, limits.colluders, limits.smallest_group) == (5, 1, 2)
    assert limits.aggregation == ("masked",)
    assert limits.key_holders == ()
    assert not limits.without_privacy
    assert not limits.without_ledger
    assert config.experiment is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("member = ", "not valid TOML"),
        ('cid = "x"', "member: Field required"),
        (GOOD.replace("firm-1", "Firm 1"), "member: "),
        (GOOD.replace('"timber"', '""'), "cid: "),
        (GOOD.replace("units = 100", "units = 0"), "task.0.units: "),
        (GOOD.replace("units = 100", 'units = "many"'), "task.0.units: "),
        (GOOD + "colour = 1\n", "task.0.colour: unknown key"),
        (GOOD + GOOD[GOOD.index("[[task]]") :], "task 'credit' is named twice"),
        (GOOD + "[limits]\nmin_cohort = 2\n", "limits.min_cohort: "),
        (GOOD + "[limits]\naggregation = ['encrypted']\n", "name in key_holders whom this firm trusts with that"),
        (GOOD + "[limits]\nkey_holders = ['../home']\n", "limits.key_holders"),
        (GOOD + "[limits]\nsmallest_group = 1\n", "limits.smallest_group: "),
        (GOOD + "[limits]\ncolluders = -1\n", "limits.colluders: "),
        (GOOD + '[limits]\naggregation = ["open"]\n', "limits.aggregation.0: "),
        (GOOD + "[limits]\nepsilon = 0\n", "limits.epsilon: "),
        (GOOD + "[limits]\nepsilon = inf\n", "limits.epsilon: "),
        (GOOD + "[limits]\nepsilon = nan\n", "limits.epsilon: "),
        (GOOD + "[limits]\ndelta = 1.0\n", "limits.delta: "),
        (GOOD + "[limits]\nepsillon = 1.0\n", "limits.epsillon: unknown key"),
        (GOOD + "[experiment]\nsed = 1\n", "experiment.sed: unknown key; missing: seed (and 1 more)"),
        ("limits = 40\n" + GOOD, ": limits: must be a table"),
        (GOOD + "[experiment]\nin_memory = true\n", "experiment.seed: Field required"),
        (GOOD + "[experiment]\nseed = 1\n", "experiment: a seed makes noise predictable"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(FirmConfigInvalid) as caught:
        load_firm_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FirmConfigInvalid, match="cannot be read: No such file or directory; a firm's home has it"):
        load_firm_config(tmp_path / "firm.toml")


def test_an_exact_number_of_units_is_never_declared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_firm_config(write(tmp_path, GOOD.replace("units = 100", "units = 1234")))
    assert config.task[0].units == 1200
    assert caplog.messages == ["units: 1234 tells others too much, 1200 is declared; write 1200 or 1300"]
    caplog.clear()
    assert load_firm_config(write(tmp_path, GOOD)).task[0].units == 100
    assert caplog.messages == []


@given(st.integers(1, 10**9))
def test_a_round_figure_is_near_and_stays_what_it_is(count: int) -> None:
    below, above = buckets_around(count)
    assert below <= count < above
    assert bucket(bucket(count)) == bucket(count) in (below, above)
    assert abs(bucket(count) - count) <= max(2, 0.25 * count if count < 20 else 0.125 * count)
    assert len(str(bucket(count)).rstrip("0")) <= 2
