"""The immutable map: a dictionary, except that nothing that was ever returned changes."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.persistent import Map


class Colliding:
    """A key whose hash says almost nothing."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return (self.number % 3) << 40

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and other.number == self.number


@given(st.lists(st.tuples(st.integers(0, 200), st.integers())))
def test_behaves_like_a_dictionary_and_keeps_its_past(pairs: list[tuple[int, int]]) -> None:
    current: Map[int, int] = Map()
    expected: dict[int, int] = {}
    past = []
    for key, value in pairs:
        past.append((current, dict(expected)))
        current, expected[key] = current.set(key, value), value
    for made, wanted in [*past, (current, expected)]:
        assert dict(made.items()) == wanted
        assert len(made) == len(wanted)
        assert set(made) == set(wanted)
    for key in range(201):
        assert current.get(key) == expected.get(key)
        assert (key in current) == (key in expected)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers()), max_size=40))
def test_colliding_hashes_are_kept_apart(pairs: list[tuple[int, int]]) -> None:
    current: Map[Colliding, int] = Map()
    for key, value in pairs:
        current = current.set(Colliding(key), value)
    expected = dict(pairs)
    assert {key.number: value for key, value in current.items()} == expected
    assert len(current) == len(expected)
    assert all(current.get(Colliding(key)) == value for key, value in expected.items())


def test_equality_ignores_history() -> None:
    one = Map[str, int]().set("a", 1).set("b", 2)
    two = Map[str, int]().set("b", 0).set("b", 2).set("a", 1)
    assert one == two
    assert one != two.set("c", 3)
