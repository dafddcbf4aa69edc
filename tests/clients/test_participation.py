"""A firm's side of a round: what it refuses costs nothing, what it sends is paid, noised, and sent once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from consortium_world import CID, EPOCH, SPEC, TASK, Consortium, a_plan, vector_model

from clients import introduction, participation
from clients.accounts import OverCap
from clients.agreed_policy import PolicyNotTaken, TaskNotAgreed
from clients.composition import tightest_epsilon
from clients.disclosure import Charge, NotShown, told
from clients.enrolment.consortium import CONSORTIUM, ConsortiumPolicy, ConsortiumTask
from clients.errors import ClientError
from clients.firm import Firm, NotTakingPart
from clients.firm_wallet import CountedOtherwise
from clients.greeting import question
from clients.masking.contribution import Contribution
from clients.masking.errors import KeySetupRefused, MaskingError, SessionReused
from clients.mechanism import Mechanism
from clients.messages import MEASURE, TRAIN, Refusal
from clients.noise import RandomStream
from clients.offer import read_offer
from clients.plan import MICRO, Plan, PlanInvalid
from clients.privacy import NOTHING, ORDERS, PrivacyError, add
from clients.round_end import end_stale_reply
from clients.tasks.examples import Examples
from clients.training import clipped_gradient_sum
from clients.wallet import Wallet
from ledger.checkpoint import NotFinal
from ledger.errors import LedgerError
from ledger.merkle import ProofError
from ledger.receipt import Receipt, ReceiptError
from ledger.rules import Phase, State
from ledger.statement import decode_statement
from server.aggregation.masked import Aggregator

LAST = "firm-6"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    made = Consortium(tmp_path_factory.mktemp("consortium") / "home")
    yield made
    made.close()


@pytest.fixture
def opened(world: Consortium) -> Iterator[Callable[..., bytes]]:
    """Opens rounds; they are given up when the test is over, so that the next test can open its own."""
    statements: list[bytes] = []

    def open_one(plan: Plan, *args: Any, **kwargs: Any) -> bytes:
        if plan.epoch == EPOCH + 2 and world.epoch < plan.epoch:
            world.set_up_keys(plan.epoch)
        statements.append(world.open_round(plan, *args, **kwargs))
        return statements[-1]

    yield open_one
    world.witness()
    for statement in statements:
        known = world.log.state.rounds.get(decode_statement(statement).payload["id"])
        if known is not None and known.phase is Phase.OPEN:
            world.abort(statement)


def spent(firm: Firm) -> tuple[int, ...]:
    private = firm.task("credit")
    return firm.wallet.spent(private.unit, private.dataset)


def refuses(firm: Firm, request: dict[str, Any], kind: type[Exception], says: str = "") -> Exception:
    """The firm refuses with this type, and neither its wallet nor its answer book has a row more."""
    before = firm.wallet.head
    with pytest.raises(kind) as caught:
        participation.train(firm, request)
    assert isinstance(caught.value, ClientError | LedgerError)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert firm.wallet.head == before
    assert firm.wallet.open_reservations() == ()
    return caught.value


def agreeing(monkeypatch: pytest.MonkeyPatch, firm: Firm, **limits: Any) -> None:
    """Change what a firm insists on, for this test."""
    changed = firm.config.limits.model_copy(update=limits)
    monkeypatch.setattr(firm, "config", firm.config.model_copy(update={"limits": changed}))


# Refusals.

PLANS: list[Any] = [
    ({"spec": bytes(32)}, Refusal, "spec: "),
    ({"aggregation": "plain"}, Refusal, "aggregation: 'plain'"),
    ({"privacy": "none", "noise_micro": 0}, Refusal, "privacy: the plan adds no noise"),
    ({"colluders": 0}, Refusal, "privacy: the noise allows for 0 colluders, this firm insists on 1"),
    ({"delta_nano": 10_001}, Refusal, "privacy: delta 1.0001e-05 is above this firm's 1e-05"),
    ({"threshold": 4}, Refusal, "threshold: 4 firms could open the sum, this firm asks for 5"),
    ({"colluders": 5}, PlanInvalid, "5 colluders leave no honest firm among 5"),
    ({"box_micro": 10**15}, PlanInvalid, "use 32 ring bits"),
    ({"ring_bits": 25}, MaskingError, "ring_bits: 25"),
    ({"threshold": 7}, MaskingError, "threshold: 7"),
    ({"noise_micro": 100, "box_micro": 1}, PrivacyError, "noise multiplier"),
    ({"noise_micro": 300_000}, OverCap, "cap"),
    ({"epoch": 2}, KeySetupRefused, "epoch 2: no pair secrets are set up"),
]


@pytest.mark.parametrize(("changes", "kind", "says"), PLANS, ids=["-".join(case[0]) for case in PLANS])
def test_a_plan_outside_the_firms_limits_costs_nothing(
    world: Consortium, opened: Callable[..., bytes], changes: dict[str, Any], kind: type[Exception], says: str
) -> None:
    statement = opened(a_plan(**changes))
    refuses(world.firms[LAST], world.request(LAST, statement), kind, says)


@pytest.fixture
def agreed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Lets every firm's mirror name this policy."""

    def name(policy: bytes) -> None:
        def with_terms(self: Firm) -> State:
            state = self.witness.state
            terms = dataclasses.replace(state.terms, config=hashlib.sha256(policy).digest())
            return dataclasses.replace(state, terms=terms)

        monkeypatch.setattr(Firm, "ledger", property(with_terms))

    return name


def policy_with(*tasks: tuple[str, bytes]) -> bytes:
    named = tuple(ConsortiumTask(name=name, spec_sha256=spec.hex()) for name, spec in tasks)
    return ConsortiumPolicy(cid=CID, name="C", task=named).text().encode()


def test_a_firm_that_has_not_got_the_policy_of_now_takes_no_part(
    world: Consortium, opened: Callable[..., bytes], agreed: Callable[[bytes], None]
) -> None:
    firm, path = world.firms[LAST], world.firms[LAST].home / CONSORTIUM
    asked, request = question(CID, "credit", EPOCH, bytes(32)), world.request(LAST, opened(a_plan()))
    policy = policy_with(("credit", firm.declared("credit").spec.hash))
    agreed(policy)
    try:
        for content in (None, b"# of before\n" + policy):
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(PolicyNotTaken, match="artesian firm take-policy"):
                introduction.hello(firm, asked)
            refuses(firm, request, PolicyNotTaken)
            assert told(PolicyNotTaken("why")) == ("PolicyNotTaken", "why")
        path.write_bytes(policy)
        assert introduction.hello(firm, asked)["units"] > 0
        assert introduction.hello(firm, {**asked, "task": ""})["units"] == 0
    finally:
        path.unlink(missing_ok=True)


def test_a_task_that_the_members_have_not_agreed_on_is_refused(
    world: Consortium, opened: Callable[..., bytes], agreed: Callable[[bytes], None]
) -> None:
    firm, path = world.firms[LAST], world.firms[LAST].home / CONSORTIUM
    asked, request = question(CID, "credit", EPOCH, bytes(32)), world.request(LAST, opened(a_plan()))
    spec = firm.declared("credit").spec.hash
    try:
        for policy, says in (
            (policy_with(), "names no task 'credit'; it names: none"),
            (policy_with(("demand", spec)), "names no task 'credit'; it names: demand"),
        ):
            path.write_bytes(policy)
            agreed(policy)
            with pytest.raises(TaskNotAgreed, match=says):
                introduction.hello(firm, asked)
            refuses(firm, request, TaskNotAgreed, says)
        other = policy_with(("credit", bytes(32)))
        path.write_bytes(other)
        agreed(other)
        refuses(firm, request, TaskNotAgreed, f"with the spec {'0' * 16}…, not {spec.hex()[:16]}…")
        assert told(TaskNotAgreed("why")) == ("TaskNotAgreed", "why")
    finally:
        path.unlink(missing_ok=True)


def test_a_cohort_that_is_too_small_or_without_the_firm(world: Consortium, opened: Callable[..., bytes]) -> None:
    statement = opened(a_plan(threshold=4), world.names[:5])
    refuses(world.firms[LAST], world.request(LAST, statement), Refusal, f"cohort: {LAST} is not in the cohort")
    world.abort(statement)
    statement = opened(a_plan(threshold=4), world.names[2:])
    refuses(
        world.firms[LAST], world.request(LAST, statement), Refusal, "cohort: 4 firms, this firm asks for at least 5"
    )


def test_distributed_noise_needs_a_masked_sum_even_where_plain_ones_are_allowed(
    world: Consortium, opened: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    agreeing(monkeypatch, world.firms[LAST], aggregation=("masked", "plain"))
    statement = opened(a_plan(aggregation="plain"))
    refuses(world.firms[LAST], world.request(LAST, statement), Refusal, "distributed noise protects only a masked sum")


def test_a_round_is_trained_only_when_it_is_final_and_this_one(world: Consortium, opened: Callable[..., bytes]) -> None:
    firm = world.firms[LAST]
    earlier = opened(a_plan())
    world.abort(earlier)
    statement = opened(a_plan(number=2))
    good = world.receipt(statement)
    bundle = Receipt.from_bytes(good)
    head, _, signatures = bundle.checkpoint.partition("\n\n")
    own, *cosigned = signatures.splitlines()
    few = dataclasses.replace(bundle, checkpoint="\n".join([head, "", own, *cosigned[:3]]) + "\n")
    refuses(firm, world.request(LAST, statement, receipt=few.to_bytes()), NotFinal, "too few for the quorum")
    refuses(firm, world.request(LAST, statement, receipt=world.receipt(earlier)), ProofError)
    refuses(firm, world.request(LAST, statement, receipt=b""), ReceiptError)
    refuses(firm, world.request(LAST, statement, receipt=good[:-1] + b"x"), ReceiptError)
    refuses(firm, world.request(LAST, earlier), Refusal, "round: the round is aborted already")
    task = world.log.entries(0, world.log.size)
    declared = next(raw for raw in task if decode_statement(raw).payload["t"] == "task")
    refuses(firm, world.request(LAST, declared), Refusal, "is a 'task' record, not a round")


def test_a_round_that_the_firms_own_mirror_lacks(world: Consortium, opened: Callable[..., bytes]) -> None:
    """Five other witnesses make it final; the firm trusts its own mirror all the same."""
    statement = opened(a_plan(), witnesses=world.names[:5])
    refuses(world.firms[LAST], world.request(LAST, statement), Refusal, f"round: the round is not in {LAST}'s mirror")


def test_another_model_than_the_rounds_parent(world: Consortium, opened: Callable[..., bytes]) -> None:
    statement = opened(a_plan())
    request = world.request(LAST, statement)
    _, other = vector_model(np.ones(TASK.architecture.size))
    digests = request["digests"]
    for changes in (
        {"parameters": other},
        {"parameters": request["parameters"] + b"\0"},
        {"digests": {}},
        {"digests": {**digests, "more.safetensors": bytes(32)}},
        {"digests": {**digests, "velocity.safetensors": bytes(32)}},
        {"digests": {**digests, "velocity.safetensors": 7}},
    ):
        refuses(world.firms[LAST], {**request, **changes}, Refusal, "model: ")


def test_a_models_average_cannot_pass_for_its_parameters(world: Consortium, opened: Callable[..., bytes]) -> None:
    """The digest is over files in order of names, but not over the names."""
    model, _ = vector_model(np.ones(TASK.architecture.size))
    model = dataclasses.replace(model, average=np.full(TASK.architecture.size, 5.0))
    statement = opened(a_plan(), model=model)
    files = model.files()
    digest = {name: hashlib.sha256(raw).digest() for name, raw in files.items()}
    renamed = {"x.safetensors": digest["parameters.safetensors"], "y.safetensors": digest["velocity.safetensors"]}
    request = world.request(LAST, statement, parameters=files["average.safetensors"], digests=renamed)
    refuses(world.firms[LAST], request, Refusal, "the files beside parameters.safetensors must be")


@pytest.mark.parametrize("values", [np.zeros(3), np.full(TASK.architecture.size, np.nan)])
def test_a_parent_model_that_does_not_fit_the_task(
    world: Consortium, opened: Callable[..., bytes], values: np.ndarray
) -> None:
    model, raw = vector_model(values)
    statement = opened(a_plan(), model=model)
    beside = {name: hashlib.sha256(one).digest() for name, one in model.files().items() if not name.startswith("par")}
    request = world.request(LAST, statement, parameters=raw, digests=beside)
    refuses(world.firms[LAST], request, Refusal, "model: the model sent does not fit the task")


def test_pair_secrets_from_a_stranger(world: Consortium, opened: Callable[..., bytes]) -> None:
    statement = opened(a_plan())
    sealed = {"stranger": next(iter(world.sealed[LAST].values()))}
    refuses(world.firms[LAST], world.request(LAST, statement, sealed=sealed), KeySetupRefused, "stranger")


def test_keys_of_fewer_firms_than_the_cohort(world: Consortium, opened: Callable[..., bytes]) -> None:
    """Noise is shared among the cohort: a session of fewer firms would carry less of it."""
    world.set_up_keys(EPOCH + 1, world.names[1:])
    try:
        statement = opened(a_plan(epoch=EPOCH + 1))
        refuses(world.firms[LAST], world.request(LAST, statement), Refusal, "roster: ")
    finally:
        world.abort(statement)
        world.set_up_keys(EPOCH + 2)


def good_plan(**changes: Any) -> Any:
    """A plan with the masking keys of the third epoch, which begins with the first such round."""
    return a_plan(**{"epoch": EPOCH + 2, **changes})


def test_an_ended_epoch_stays_ended(world: Consortium, opened: Callable[..., bytes]) -> None:
    if world.epoch == EPOCH:
        world.set_up_keys(EPOCH + 2)
    statement = opened(a_plan(epoch=EPOCH))
    refuses(world.firms[LAST], world.request(LAST, statement), KeySetupRefused)
    with pytest.raises(KeySetupRefused, match="it has ended"):
        introduction.hello(world.firms[LAST], question(CID, "credit", EPOCH, bytes(32)))


@pytest.mark.parametrize("epoch", [-1, 2**31 + 1, 10**30])
def test_no_epoch_from_which_there_is_no_way_back(world: Consortium, epoch: int) -> None:
    with pytest.raises(Refusal, match="epoch"):
        introduction.hello(world.firms[LAST], question(CID, "credit", epoch, bytes(32)))


def test_another_consortium_and_another_task(world: Consortium) -> None:
    with pytest.raises(Refusal, match="belongs to 'test', not 'other'"):
        introduction.hello(world.firms[LAST], question("other", "credit", 0, bytes(32)))
    with pytest.raises(NotTakingPart, match="takes no part in the task 'fraud'"):
        world.firms[LAST].task("fraud")


# Paying.


def test_the_wallet_has_paid_before_there_is_anything_to_send(
    world: Consortium, opened: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    firm, statement = world.firms["firm-1"], opened(good_plan())
    before = spent(firm)

    def crash(*_: Any, **__: Any) -> None:
        assert firm.wallet.open_reservations() == ()
        raise MemoryError

    monkeypatch.setattr(participation, "protect", crash)
    with pytest.raises(MemoryError):
        participation.train(firm, world.request("firm-1", statement))
    cost = good_plan().round_rdp()
    assert spent(firm) == add([before, cost])
    reopened = Firm(firm.home)
    assert reopened.wallet.spent("one row", "data/credit.csv") == spent(firm)
    reopened.wallet.close()
    monkeypatch.undo()
    # Its update may have left in part, for all that is known: it is not made again, and not paid again.
    refuses(firm, world.request("firm-1", statement), Refusal, "lost: firm-1 has paid for this round, and stopped")


def test_a_crash_in_training_leaves_the_reservation_on_the_books(
    world: Consortium, opened: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    firm, statement = world.firms["firm-2"], opened(good_plan())
    before = spent(firm)
    monkeypatch.setattr(participation, "bounded_gradient_sum", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        participation.train(firm, world.request("firm-2", statement))
    assert spent(firm) == add([before, good_plan().round_rdp()])
    monkeypatch.undo()
    # Nothing had left: asked again it trains, and what it had set aside pays for that.
    participation.train(firm, world.request("firm-2", statement))
    assert spent(firm) == add([before, good_plan().round_rdp()])
    assert firm.wallet.open_reservations() == ()


def test_a_reply_is_repeated_only_on_the_terms_it_was_given_on(world: Consortium, opened: Callable[..., bytes]) -> None:
    firm, statement = world.firms["firm-4"], opened(good_plan())
    reply = participation.train(firm, world.request("firm-4", statement))
    round_id, digest = decode_statement(statement).payload["id"], decode_statement(statement).digest
    kept = firm.kept_reply
    assert kept.of(round_id, digest, TRAIN) == dict(reply)
    assert kept.of(round_id, digest, MEASURE) is None
    assert kept.of(round_id, bytes(32), TRAIN) is None
    assert kept.of(bytes(16), digest, TRAIN) is None
    with Wallet(None) as forgetful, pytest.MonkeyPatch.context() as patch:
        patch.setitem(firm.__dict__, "wallet", forgetful)
        with pytest.raises(NotShown, match="no row that has paid"):
            participation.train(firm, world.request("firm-4", statement))
    end_stale_reply(firm)
    assert kept.round() == round_id
    world.abort(statement)
    world.witness()
    end_stale_reply(firm)
    assert kept.round() is None
    assert not any((firm.home / "reply").iterdir())


def test_a_round_is_paid_and_contributed_to_once(
    world: Consortium, opened: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    firm, statement = world.firms["firm-3"], opened(good_plan())
    before = spent(firm)
    request = world.request("firm-3", statement)
    reply = participation.train(firm, request)
    cost = good_plan().round_rdp()
    assert spent(firm) == add([before, cost])
    (paid,) = firm.wallet.purchases(f"credit/{decode_statement(statement).payload['id'].hex()}")
    assert paid.cost.mechanisms == (good_plan().round_mechanism(),)
    assert (paid.occasion.consortium, paid.occasion.number, paid.occasion.rounds) == (CID, 1, good_plan().rounds)
    # Asked again, it gives the very same bytes; when it has forgotten them, it refuses before it pays.
    head = firm.wallet.head
    assert dict(participation.train(firm, request)) == dict(reply)
    assert firm.wallet.head == head
    firm.kept_reply.destroy()
    refuses(firm, request, Refusal, "firm-3 has contributed to this round already")
    monkeypatch.setattr(firm.round_secrets, "has_round", lambda _: False)
    refuses(firm, request, Refusal, "lost: firm-3 has paid for this round")
    # Even with a wallet that has forgotten too, the answer book still knows.
    with monkeypatch.context() as patch:
        patch.setattr(participation, "charge", lambda *_: Charge(firm, "", None))
        with pytest.raises(SessionReused, match="already protected an update"):
            participation.train(firm, request)
    said = decode_statement(reply["statement"])
    said.verify(firm.key.public)
    contribution = Contribution.from_bytes(reply["contribution"])
    assert said.payload["commit"] == contribution.commit
    assert said.payload["rdp"] == list(cost)
    assert (said.payload["n_bucket"], said.payload["clip"]) == (40, MICRO)
    assert said.issuer == "firm-3"


def test_a_second_unit_on_the_same_data_is_refused(
    world: Consortium, opened: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: rows pay to the cap, then the same customers pay once more in an account of their own."""
    firm, statement = world.firms["firm-4"], opened(good_plan())
    participation.train(firm, world.request("firm-4", statement))
    private = firm.task("credit")
    privacy = SPEC.privacy.model_copy(update={"unit": "entity", "entity": "customer", "max_rows": 5})

    class Otherwise:
        spec = SPEC.model_copy(update={"privacy": privacy})

    again = dataclasses.replace(private, task=Otherwise())  # type: ignore[arg-type]
    head = firm.wallet.head
    with pytest.raises(CountedOtherwise, match="has paid per one row, and cannot pay per one customer"):
        firm.charge(again, "credit/1", Mechanism(good_plan().noise_micro))
    assert firm.wallet.head == head


def test_the_cap_holds_over_many_rounds(world: Consortium, opened: Callable[..., bytes]) -> None:
    """Each round here costs about an epsilon of 2: the cap of 8 takes several, never one too many."""
    firm = world.firms["firm-5"]
    paid = 0
    for number in range(1, 15):
        statement = opened(good_plan(number=number, rounds=99, noise_micro=2 * MICRO))
        try:
            participation.train(firm, world.request("firm-5", statement))
        except OverCap:
            break
        finally:
            world.abort(statement)
        paid += 1
    assert 2 <= paid < 14
    released = [mechanism for one in firm.wallet.purchases() for mechanism in one.cost.mechanisms]
    assert tightest_epsilon(released, 1e-5) <= 8.0
    assert tightest_epsilon([*released, Mechanism(2 * MICRO)], 1e-5) > 8.0


@pytest.mark.parametrize("part", ["bounded_gradient_sum", "discrete_gaussian"])
def test_an_update_outside_the_grid_is_refused_without_its_value(
    world: Consortium, opened: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    statement = opened(good_plan())
    kind, value = (float, 4711.25) if part == "bounded_gradient_sum" else (np.int64, 4711 << 20)
    monkeypatch.setattr(participation, part, lambda *_, **__: np.full(TASK.architecture.size, value, dtype=kind))
    with pytest.raises(Refusal, match="update: the update does not fit") as caught:
        participation.train(world.firms["firm-1"], world.request("firm-1", statement))
    assert "4711" not in str(caught.value)


def test_without_privacy_nothing_is_paid_and_the_firm_has_said_so(
    world: Consortium, opened: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    firm = world.firms["firm-2"]
    agreeing(monkeypatch, firm, without_privacy=True, aggregation=("plain",))
    head = firm.wallet.head
    statement = opened(good_plan(privacy="none", noise_micro=0, aggregation="plain", epoch=0))
    reply = participation.train(firm, world.request("firm-2", statement))
    assert firm.wallet.head == head
    assert decode_statement(reply["statement"]).payload["rdp"] == list(NOTHING) == [0] * len(ORDERS)


# What leaves.


@pytest.mark.parametrize("privacy", ["local", "distributed"])
@pytest.mark.parametrize("ring_bits", [24, 32])
def test_noise_in_what_leaves_is_the_plans(
    world: Consortium, opened: Callable[..., bytes], privacy: str, ring_bits: int
) -> None:
    plan = good_plan(privacy=privacy, ring_bits=ring_bits, noise_micro=3 * MICRO)
    firm = world.firms["firm-1"]
    statement = opened(plan)
    offer = read_offer(firm, statement, world.receipt(statement))
    private = firm.task("credit")
    session = participation._session(firm, offer, world.sealed["firm-1"])
    parameters = np.zeros(TASK.architecture.size)
    bare = clipped_gradient_sum(TASK.architecture, parameters, private.examples, plan.clip)
    noise = np.concatenate(
        [
            participation._update(firm, offer, private, parameters, session) * session.quantiser.step - bare
            for _ in range(400)
        ]
    )
    wanted = plan.noise_std(6)
    assert wanted == pytest.approx(3.0 if privacy == "local" else 3.0 / np.sqrt(5 - 1), rel=2e-3)
    assert noise.std() == pytest.approx(wanted, rel=4 / np.sqrt(2 * len(noise)))
    assert abs(noise.mean()) < 4 * wanted / np.sqrt(len(noise))


@pytest.mark.parametrize("privacy", ["local", "distributed"])
def test_a_weight_leaves_with_the_noise_of_every_other_value(
    world: Consortium, opened: Callable[..., bytes], privacy: str
) -> None:
    weights = dict.fromkeys(("weight_micro", "least_weight_micro"), MICRO // 8)
    plan = good_plan(privacy=privacy, noise_micro=3 * MICRO, weighting="summed", **weights)
    firm = world.firms["firm-1"]
    statement = opened(plan)
    offer = read_offer(firm, statement, world.receipt(statement))
    private = firm.task("credit")
    session = participation._session(firm, offer, world.sealed["firm-1"])
    assert session.dimension == plan.values == TASK.architecture.size + 1
    parameters = np.zeros(TASK.architecture.size)
    drawn = [participation._update(firm, offer, private, parameters, session)[-1] for _ in range(800)]
    weight = np.array(drawn) * session.quantiser.step
    wanted = plan.noise_std(6)
    assert weight.mean() == pytest.approx(private.examples.units / 8, abs=4 * wanted / np.sqrt(800))
    assert weight.std() == pytest.approx(wanted, rel=4 / np.sqrt(2 * 800))


def test_secure_noise_is_new_every_time(world: Consortium) -> None:
    firm = world.firms["firm-1"]
    assert firm.stream("credit", 1).bytes(32) != firm.stream("credit", 1).bytes(32)


def test_six_firms_open_their_sum_without_one(world: Consortium, opened: Callable[..., bytes]) -> None:
    """The whole way of an update, with a drop-out: the sum is that of those on the ledger, within its noise."""
    plan = good_plan(number=3)
    statement = opened(plan)
    first = read_offer(world.firms["firm-1"], statement, world.receipt(statement))
    answering = [name for name in world.names if name != "firm-5"]
    entries = world.firms["firm-1"].round_secrets.roster(plan.epoch)
    session = participation.session_of(CID, first, entries, TASK.architecture.size)
    aggregator = Aggregator(session)
    for name in answering:
        reply = participation.train(world.firms[name], world.request(name, statement))
        contribution = Contribution.from_bytes(reply["contribution"])
        world.log.append([reply["statement"]])
        aggregator.add(name, contribution, contribution.commit)
    headers = dict(aggregator.close())
    early = {"round": first.round_id, "headers": headers, "commits": {}, "inbound": {}, "final": world.log.final()}
    world.witness(["firm-1"])  # it has seen the contributions, but no quorum has
    with pytest.raises(Refusal, match="final checkpoint is not of the ledger"):
        participation.open_sum(world.firms["firm-1"], early)
    world.witness()
    final = world.log.final()
    for name in answering:
        firm = world.firms[name]
        request = {
            "round": first.round_id,
            "headers": headers,
            "commits": {},
            "inbound": aggregator.inbound_for(name),
            "final": final,
        }
        if name == "firm-1":
            fewer = {member: raw for member, raw in headers.items() if member != "firm-2"}
            with pytest.raises(MaskingError, match="firm-2"):
                participation.open_sum(firm, {**request, "headers": fewer})
        aggregator.accept(name, participation.open_sum(firm, request)["reply"])
    world.witness()
    total = session.quantiser.dequantise(aggregator.open().total)
    everyone = [world.firms[name].task("credit").examples for name in answering]
    bare = sum(clipped_gradient_sum(TASK.architecture, np.zeros(TASK.architecture.size), one, 1.0) for one in everyone)
    std = plan.noise_std(6) * np.sqrt(5)
    assert np.abs(total - bare).max() < 6 * std
    assert (total - bare).std() > std / 3


def test_nothing_is_opened_for_a_round_that_is_not_open(world: Consortium, opened: Callable[..., bytes]) -> None:
    statement = opened(good_plan(number=2))
    world.abort(statement)
    firm = world.firms["firm-1"]
    request = {
        "round": decode_statement(statement).payload["id"],
        "headers": {},
        "commits": {},
        "inbound": {},
        "final": world.log.final(),
    }
    with pytest.raises(Refusal, match="is not open in this firm's mirror"):
        participation.open_sum(firm, request)
    with pytest.raises(Refusal, match="is not open in this firm's mirror"):
        participation.open_sum(firm, {**request, "round": bytes(16)})


def test_examples_are_read_once_and_are_those_of_the_table(world: Consortium) -> None:
    firm = world.firms["firm-1"]
    assert firm.task("credit") is firm.task("credit")
    assert isinstance(firm.task("credit").examples, Examples)
    assert isinstance(firm.stream("x"), RandomStream)


def test_a_plan_with_less_noise_than_the_firm_insists_on_costs_nothing(
    world: Consortium, opened: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    firm, plan = world.firms[LAST], a_plan()
    statement = opened(plan)
    agreeing(monkeypatch, firm, noise_least=plan.noise_multiplier + 0.5)
    refuses(firm, world.request(LAST, statement), Refusal, "noise: the noise multiplier is")
