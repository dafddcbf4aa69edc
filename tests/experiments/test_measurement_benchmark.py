"""The benchmark of measurements: errors that are about those that are stated, and smaller at a higher price."""

from experiments.benchmarks import measurement


def test_errors_are_those_that_are_stated_and_fall_with_epsilon() -> None:
    dear, cheap = measurement.run(draws=12, tables=("loans.toml",), epsilons=(8.0, 1.0))
    assert 0 < dear.value < cheap.value < 0.1
    for one in (dear, cheap):
        assert 0.4 < one.value / one.beside["the deviation that it states"] < 2.5
        assert abs(one.beside["AUC without noise"] - one.beside["AUC of the held-out records themselves"]) < 0.005
