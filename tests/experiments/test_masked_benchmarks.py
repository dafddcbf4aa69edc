"""The masking benchmarks measure rounds whose sums come out, and say what they ran beside."""

from experiments.benchmarks import masked_accuracy, masked_scale
from experiments.benchmarks.masked_cohort import set_up_cohort


def test_rounds_of_two_sizes_are_measured() -> None:
    figures = masked_scale.run(runs=1, many=12, small=2_000, large=50_000)
    assert [figure.unit for figure in figures] == ["ms"] * 7 + ["MiB"]
    assert all(figure.value > 0 and figure.beside and figure.command for figure in figures)


def test_masks_cost_no_accuracy() -> None:
    """With the same draws all that differs from float64 averaging is the quantiser."""
    figures = masked_accuracy.run(runs=1, many=1)
    assert all(figure.unit == "AUC" and 0.7 < figure.value < 0.9 and figure.command for figure in figures)
    for figure in figures[:3]:
        assert figure.beside["largest difference of one run"] < 1e-4


def test_the_aggregator_holds_no_firms_vector() -> None:
    """Forty firms more, and the server's peak grows by their hashes and shares, not by their vectors."""
    peaks, vector_mib = {}, 3 * 300_000 / 2**20
    for size in (10, 50):
        cohort = set_up_cohort(size)
        session = cohort.session(dimension=300_000)
        spent = masked_scale.traced_round(cohort, session)
        peaks[size] = spent.server_peak_bytes / 2**20
    assert 0 < peaks[50] - peaks[10] < 5 * vector_mib
