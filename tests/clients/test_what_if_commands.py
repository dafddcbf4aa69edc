"""`artesian firm what-if`: the worked examples by which a cap is chosen."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from artesian import app
from clients.what_if_commands import outcome


def test_published_examples() -> None:
    """A lifetime of epsilon 8 holds 38 trainings at epsilon 1; two at 1 come to 1.47; two units of one have 2.15."""
    one, two = outcome([1.0], 8.0, 1e-5), outcome([1.0, 1.0], 8.0, 1e-5)
    assert (one["times_within_cap"], one["times_by_sum"]) == (38, 8)
    assert two["together"] == pytest.approx(1.465, abs=0.002)
    assert one["of_two"]["together"] == pytest.approx(2.155, abs=0.002)
    assert one["guess"]["together"] == pytest.approx(0.5533, abs=1e-4)


def test_it_is_printed_and_bad_numbers_are_refused() -> None:
    done = CliRunner().invoke(app, ["firm", "what-if", "1", "1", "--cap", "3"])
    assert "epsilon 1 and 1 come to 1.465 at delta 1e-05; their sum is 2" in done.stdout
    assert "A cap of 3 holds them 3 times; by the sum it would be 1" in done.stdout
    facts = json.loads(CliRunner().invoke(app, ["firm", "what-if", "4", "--cap", "3", "--json"]).stdout)
    assert facts["times_within_cap"] == 0
    assert CliRunner().invoke(app, ["firm", "what-if", "0"]).exit_code == 2
    assert CliRunner().invoke(app, ["firm", "what-if", "1e6"]).exit_code == 2
    assert "--cap" in CliRunner().invoke(app, ["firm", "what-if", "1", "--cap", "0"]).stderr
    tight = CliRunner().invoke(app, ["firm", "what-if", "3", "--cap", "1"]).stdout
    assert "epsilon 3 comes to 3 " in tight
    assert "A cap of 1 does not fit: it does not hold it even once." in tight
