from experiments.benchmarks import encrypted_scale


def test_a_small_sum_is_measured_beside_masks_and_fp32() -> None:
    figures = encrypted_scale.run(runs=1, sizes=(3_000,))
    assert [figure.unit for figure in figures] == ["ms", "bytes", "ms", "ms", "ms"]
    assert all(figure.value > 0 and figure.beside and figure.command for figure in figures)
