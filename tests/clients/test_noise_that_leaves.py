"""The noise in what really leaves a firm: `participation.train` from the round's record to the masked bytes, measured.

Masks are taken off here, with the seeds that the firm drew. Noise comes by the way of the secure source (AES-CTR under
a fresh key for each round); only the operating system's generator of keys is replaced, so that a run repeats.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import consortium_world
import numpy as np
import pytest
from consortium_world import a_plan
from numpy.typing import NDArray
from scipy import stats
from task_world import CREDIT, credit_spec

from clients import noise, participation
from clients.firm import Firm
from clients.held_out import deal
from clients.masking.contribution import Contribution, Header, commit_self_seed
from clients.masking.keystream import apply_masks
from clients.mechanism import Mechanism
from clients.noise import RandomStream
from clients.offer import read_offer
from clients.plan import MICRO, Plan
from clients.tasks.examples import Examples
from clients.tasks.task import task_for
from clients.training import Protection, bounded_gradient_sum
from ledger.statement import decode_statement

Steps = NDArray[np.float64]
INCOME = ", ".join(str(k / 4) for k in range(1, 4000))
TEXT = CREDIT.replace("bins = [100, 200, 500]", f"bins = [{INCOME}]")
FIRMS = 6
WEIGHED = {"weighting": "summed", "weight_micro": MICRO // 8, "least_weight_micro": MICRO // 8}
CORRELATED = "1000000 500000"
TAIL = 1e-5
"""Each check may fail once in so many runs with other keys; with these it does not."""


class World:
    """A consortium whose task has some 4,000 values, and firms whose keys of noise follow from a seed."""

    def __init__(self, home: Any, patch: pytest.MonkeyPatch) -> None:
        features = credit_spec().model_dump(mode="json", by_alias=True, exclude_none=True)["feature"]
        features[0]["bins"] = [k / 4 for k in range(1, 4000)]
        self.spec = credit_spec(feature=features)
        self.task = task_for(self.spec)
        for name, value in (("CREDIT", TEXT), ("SPEC", self.spec), ("TASK", self.task)):
            patch.setattr(consortium_world, name, value)
        keys = np.random.default_rng(5)
        patch.setattr(noise, "os", SimpleNamespace(urandom=keys.bytes))
        patch.setattr(participation, "secrets", SimpleNamespace(token_bytes=self._token))
        self._drawn: list[bytes] = []
        limits = {"epsilon": 1e6, "aggregation": ["masked", "plain"]}
        self.consortium = consortium_world.Consortium(home, FIRMS, limits=limits)

    def _token(self, count: int) -> bytes:
        self._drawn.append(secrets.token_bytes(count))
        return self._drawn[-1]

    def round(self, plan: Plan, names: list[str] | None = None) -> dict[str, Steps]:
        """The noise that leaves each firm in a round, in grid steps; the round is given up afterwards."""
        statement = self.consortium.open_round(plan)
        out = {}
        for name in names or self.consortium.names:
            firm, request = self.consortium.firms[name], self.consortium.request(name, statement)
            offer = read_offer(firm, statement, request["receipt"])
            session = participation._session(firm, offer, request["sealed"])
            before = self._before(firm, offer)
            self._drawn.clear()
            reply = participation.train(firm, request)
            sent = Contribution.from_bytes(reply["contribution"])
            assert decode_statement(reply["statement"]).payload["commit"] == sent.commit
            out[name] = self._unmasked(firm, session, sent) - self._bare(firm, offer, session, before)
        self.consortium.abort(statement)
        return out

    def _unmasked(self, firm: Firm, session: Any, sent: Contribution) -> Any:
        """int64[values]: the contribution's bytes without its masks."""
        header = Header.from_bytes(sent.header)
        assert header.masked == hashlib.sha256(sent.masked).digest()
        total = session.ring.unpack(sent.masked, session.dimension).copy()
        if session.protection == "masked":
            own = next(one for one in self._drawn if commit_self_seed(session, firm.member, one) == header.self_seed)
            pairs = firm.round_secrets.pairs(session.epoch)
            seeds = {peer: pairs.mask_seed(session, peer) for peer in session.peers(firm.member)}
            below = [seed for peer, seed in seeds.items() if peer < firm.member]
            above = [seed for peer, seed in seeds.items() if peer > firm.member]
            apply_masks(total, below, [own, *above])
        return session.ring.centre(total)

    def _before(self, firm: Firm, offer: Any) -> list[Any]:
        if not offer.plan.correlation:
            return []
        dealt = deal(firm, firm.task("credit"), 2)
        return firm.kept_sums("credit").before(offer.stream, offer.plan.row, offer.digest, dealt.digest)

    def _bare(self, firm: Firm, offer: Any, session: Any, before: list[Any]) -> Any:
        """int64[values]: what the firm would send without noise."""
        plan, examples = offer.plan, firm.task("credit").examples
        if plan.correlated is not None:
            examples = deal(firm, firm.task("credit"), 2).parts[plan.row % 2]
        one = self.gradient_sum(plan, examples)
        bare = one if plan.correlated is None else plan.correlated.encode([one, *before])
        return session.quantiser.quantise(bare)

    def gradient_sum(self, plan: Plan, examples: Examples) -> Any:
        protection, stream = Protection(plan.clip, plan.box, 1.0, plan.weight), RandomStream.seeded(0)
        start = np.zeros(self.task.architecture.size)
        return bounded_gradient_sum(self.task.architecture, start, examples, protection, stream)

    def plan(self, **changes: Any) -> Plan:
        fields = {"ring_bits": 24, "noise_micro": 3 * MICRO, "rounds": 9, **changes}
        return a_plan(**fields)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        made = World(tmp_path_factory.mktemp("consortium") / "home", patch)
        yield made
        made.consortium.close()


@dataclass(frozen=True)
class Law:
    """The discrete Gaussian over the integers of this parameter: P(x) ~ exp(-x^2 / (2 sigma^2))."""

    sigma: float

    @cached_property
    def edges(self) -> tuple[Any, Any]:
        """Edges of about 40 bins of like weight, and the exact weight of each, from the sum over all integers."""
        reach = int(12 * self.sigma)
        x = np.arange(-reach, reach + 1)
        weights = np.exp(-0.5 * (x / self.sigma) ** 2)
        below = np.cumsum(weights / weights.sum())
        cuts = np.unique(np.searchsorted(below, np.linspace(0, 1, 41)[1:-1]))
        return x[cuts] + 0.5, np.diff(np.concatenate([[0.0], below[cuts], [1.0]]))


def faults(values: Steps, law: Law) -> list[str]:
    """What is wrong with noise [draws, values] that should be independent and follow `law`; empty if nothing is."""
    found, count = [], values.size
    z = -float(stats.norm.ppf(TAIL / 2))
    if abs(values.mean()) > z * law.sigma / np.sqrt(count):
        found.append("mean")
    if abs(values.var() / law.sigma**2 - 1) > z * np.sqrt(2 / count):
        found.append("variance")
    cuts, weights = law.edges
    seen = np.bincount(np.searchsorted(cuts, values.ravel()), minlength=len(weights))
    if stats.chisquare(seen, weights * count).pvalue < TAIL:
        found.append("distribution")
    if stats.chisquare(np.bincount(values.ravel().astype(np.int64) % 8, minlength=8)).pvalue < TAIL:
        found.append("low bits")
    if not _alike(values[:, :-1], values[:, 1:], law):
        found.append("coordinates")
    if not all(_alike(a, b, law) for k, a in enumerate(values) for b in values[k + 1 :]):
        found.append("draws")
    return found


def _alike(a: Steps, b: Steps, law: Law) -> bool:
    """Whether two arrays are as little correlated as independent ones."""
    z = -float(stats.norm.ppf(TAIL / 100))
    return abs(float((a * b).mean())) < z * law.sigma**2 / np.sqrt(a.size)


def of(rounds: list[dict[str, Steps]]) -> Steps:
    return np.array([noise for one in rounds for noise in one.values()], dtype=np.float64)


def test_the_noise_of_every_firm_is_its_share_and_that_of_the_sum_is_the_plans(world: World) -> None:
    plan = world.plan()
    rounds = [world.round(plan), world.round(world.plan(number=2))]
    sigma = plan.grid(FIRMS).sigma
    share = plan.noise_multiplier / np.sqrt(plan.threshold - plan.colluders)
    assert sigma * plan.grid(FIRMS).step == pytest.approx(
        share, rel=0.02
    )  # rounding adds a hundredth on so coarse a grid
    assert faults(of(rounds), Law(sigma)) == []
    sums = np.array([np.sum(list(one.values()), axis=0) for one in rounds], dtype=np.float64)
    assert faults(sums, Law(sigma * np.sqrt(FIRMS))) == []
    fewest = np.array([sum(one[name] for name in list(one)[: plan.threshold - plan.colluders]) for one in rounds])
    assert fewest.std() * plan.grid(FIRMS).step == pytest.approx(plan.noise_multiplier, rel=0.06)


@pytest.mark.parametrize("changes", [{}, {"aggregation": "plain", "epoch": 0, "threshold": 5}, WEIGHED])
def test_one_firms_own_noise_is_enough_where_it_is_local(world: World, changes: dict[str, Any]) -> None:
    plans = [world.plan(privacy="local", number=number, **changes) for number in (1, 2, 3)]
    rounds = [world.round(plan, ["firm-2"]) for plan in plans]
    grid = plans[0].grid(FIRMS)
    assert grid.sigma * grid.step >= plans[0].noise_multiplier * plans[0].unit_norm
    assert of(rounds).shape[1] == plans[0].values
    assert faults(of(rounds), Law(grid.sigma)) == []


def test_noise_is_fresh_in_every_row_of_correlated_noise(world: World) -> None:
    plans = [world.plan(correlation=CORRELATED, stream_from=1, number=n, threshold=FIRMS) for n in (1, 2, 3)]
    rounds = [world.round(plan, ["firm-1", "firm-4"]) for plan in plans]
    assert faults(of(rounds), Law(plans[0].grid(FIRMS).sigma)) == []


def test_no_noise_comes_twice_after_a_retry_or_a_restart(world: World) -> None:
    plan, name = world.plan(privacy="local"), "firm-3"
    draws = [world.round(plan, [name]), world.round(plan, [name])]
    before = world.consortium.firms[name]
    before.close()
    world.consortium.firms[name] = Firm(before.home)
    draws.append(world.round(plan, [name]))
    assert faults(of(draws), Law(plan.grid(FIRMS).sigma)) == []


def _none(_: Any, sigma: int, count: int) -> Any:
    return np.zeros(count, dtype=np.int64)


def _halved(source: Any, sigma: int, count: int) -> Any:
    return participation_gaussian(source, sigma // 2, count)


def _rounded_float(source: Any, sigma: int, count: int) -> Any:
    """A float that is inverted and rounded to its last bits: even numbers only."""
    return np.rint(stats.norm.ppf(source.uniform(count)) * sigma / 2).astype(np.int64) * 2


def _one_value(source: Any, sigma: int, count: int) -> Any:
    return np.repeat(participation_gaussian(source, sigma, (count + 1) // 2), 2)[:count]


def _uniform(source: Any, sigma: int, count: int) -> Any:
    return np.rint((source.uniform(count) - 0.5) * sigma * np.sqrt(12)).astype(np.int64)


participation_gaussian = participation.discrete_gaussian


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (_none, "variance"),
        (_halved, "variance"),
        (_rounded_float, "low bits"),
        (_one_value, "coordinates"),
        (_uniform, "distribution"),
    ],
)
def test_noise_that_is_not_what_it_says_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Any], found: str
) -> None:
    plan = world.plan(privacy="local")
    monkeypatch.setattr(participation, "discrete_gaussian", broken)
    draws = [world.round(plan, ["firm-5"]) for _ in range(2)]
    assert found in faults(of(draws), Law(plan.grid(FIRMS).sigma))


@pytest.mark.parametrize("what", ["one key a round", "one key for all firms", "one key for ever"])
def test_a_stream_that_is_used_again_is_found(world: World, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def stream(firm: Firm, *labels: str | int) -> RandomStream:
        own = {"one key a round": (firm.member, *labels), "one key for all firms": labels}.get(what, ())
        return RandomStream.seeded(1, *own)

    monkeypatch.setattr(Firm, "stream", stream)
    plan = world.plan()
    names = ["firm-1", "firm-2"] if what == "one key for all firms" else ["firm-1"]
    rounds = [world.round(plan, names) for _ in range(3 - len(names))]
    assert "draws" in faults(of(rounds), Law(plan.grid(FIRMS).sigma))


def test_a_sample_is_fair_new_in_every_round_and_paid_for_as_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the firm's own process ever holds it; what leaves has the noise on top."""
    rate, taken = 0.25, list[Any]()
    real = RandomStream.bernoulli

    def watched(self: RandomStream, count: int, share: float) -> Any:
        taken.append(real(self, count, share))
        return taken[-1]

    monkeypatch.setattr(RandomStream, "bernoulli", watched)
    plans = [world.plan(number=number, sampling_micro=round(rate * MICRO)) for number in (1, 2)]
    for plan in plans:
        world.round(plan, ["firm-1", "firm-2"])
    assert np.array(taken).shape == (4, 40)
    assert np.mean(taken) == pytest.approx(rate, abs=4.5 * np.sqrt(rate * (1 - rate) / (4 * 40)))
    assert len({one.tobytes() for one in taken}) == 4
    assert plans[0].round_mechanism() == Mechanism(3 * MICRO, round(rate * MICRO))
