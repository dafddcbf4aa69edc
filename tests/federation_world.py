"""A tiny federation: a credit task of nine parameters, a few firms with sixty records each, real homes and keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from clients.app import app as client_app
from clients.data import Table
from clients.firm import close_firms
from clients.masking.contribution import Header
from clients.messages import REPLIES, Refusal, pack, unpack
from clients.tasks.spec import TaskSpec, parse_spec
from clients.tasks.task import task_for
from clients.wallet import Wallet
from experiments.federation import FederatedTask, Federation, Terms, build
from ledger.rounds import contributions_of
from ledger.rules import Contribution, Round
from ledger.rules.persistent import Map
from ledger.statement import Statement, decode_statement
from server.artifacts import ArtifactMissing
from server.asking_again import Waiting
from server.coordinator import Coordinator
from server.engine import run_in_process
from server.releases import Release
from server.rounds import Run
from server.training_config import TrainingConfig

T = TypeVar("T")
TASK = "credit"
HOLDER = "auditor"
"""Who holds the key of encrypted sums."""
SPEC = """
name = "credit"
kind = "credit"

[privacy]
unit = "row"

[model]
kind = "scorecard"

[label]
column = "outcome"
positive = ["default"]
negative = ["paid"]
base_rate = 0.3

[[column]]
name = "outcome"
kind = "category"
values = ["default", "paid"]

[[column]]
name = "income"
kind = "number"
unit = "thousands a year"
min = 0
max = 100

[[column]]
name = "sector"
kind = "category"
values = ["farming", "building", "trade"]

[[feature]]
code = "income"
text = "Income"
from = "income"
bins = [20, 40, 60]

[[feature]]
code = "sector"
text = "Sector"
from = "sector"
"""


def spec(text: str = SPEC) -> TaskSpec:
    import tomllib

    return parse_spec(tomllib.loads(text), "test spec")


def tables(firms: int, rows: int = 60, seed: int = 7) -> tuple[Table, ...]:
    """Records in which low income and building default more often."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(firms):
        income = rng.uniform(0, 100, rows).round(1)
        sector = rng.choice(["farming", "building", "trade"], rows)
        odds = np.where(income < 40, 0.6, 0.15) + np.where(sector == "building", 0.2, 0.0)
        outcome = np.where(rng.uniform(size=rows) < odds, "default", "paid")
        parts.append(Table({"outcome": outcome, "income": income, "sector": sector}, rows))
    return tuple(parts)


def training(
    rounds: int = 2,
    *,
    mode: str = "distributed",
    kind: str = "masked",
    epsilon: float = 4.0,
    colluders: int | None = None,
    deadline_s: int = 60,
    robust: Mapping[str, Any] | None = None,
    **steps: Any,
) -> TrainingConfig:
    held = kind == "encrypted"
    privacy = {"mode": mode, "epsilon": epsilon, "colluders": colluders}
    return TrainingConfig.model_validate(
        {
            "training": {"rounds": rounds, "rate": 2.0, **steps},
            "privacy": {name: value for name, value in privacy.items() if value is not None},
            "aggregation": {"kind": kind, "deadline_s": deadline_s, **({"key_holder": HOLDER} if held else {})},
            "robust": robust or {},
        }
    )


LIMITS: Mapping[str, Any] = {"min_cohort": 3, "colluders": 0, "epsilon": 20.0, "delta": 1e-5}


def federation(
    home: Path,
    firms: int = 3,
    config: TrainingConfig | None = None,
    *,
    ledger: bool = True,
    in_memory: bool = False,
    seed: int | None = 5,
    banks: tuple[str, ...] = (),
    limits: Mapping[str, Any] | None = None,
    names: Sequence[str] = (TASK,),
    rows: int = 60,
    min_cohort: int = 3,
    text: str = SPEC,
) -> Federation:
    """Found a federation whose firms agree to what `config` asks."""
    config = config or training()
    own = {
        **LIMITS,
        "aggregation": [config.aggregation.kind],
        "key_holders": [config.aggregation.key_holder] if config.aggregation.key_holder else [],
        "without_privacy": config.privacy.mode == "none",
        "without_ledger": not ledger,
        **(limits or {}),
    }
    tasks = []
    for name in names:
        own_text = text.replace('name = "credit"', f'name = "{name}"', 1)
        tasks.append(FederatedTask(name, task_for(spec(own_text)), own_text, tables(firms, rows), config))
    return build(home, tasks, Terms("simulation", min_cohort, seed, ledger, in_memory, own, banks))


@contextmanager
def opened(built: Federation) -> Iterator[Coordinator]:
    """The coordinator, and every firm closed afterwards."""
    try:
        with Coordinator(built.coordinator) as coordinator:
            yield coordinator
    finally:
        close_firms()


class FakeTime:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds

    def waiting(self) -> Waiting:
        return Waiting(lambda: self.at_s, self.sleep)


def train(
    built: Federation,
    coordinator: Coordinator,
    *,
    app: Callable[[Message, Context], Message] = client_app,
    task: str = TASK,
    firms: Sequence[str] | None = None,
    lines: list[str] | None = None,
    seed: int = 0,
) -> Release:
    """One `Run` in this process; its progress goes to `lines`."""
    said = [] if lines is None else lines
    return on_grid(
        built,
        lambda grid: Run(grid, coordinator, task, progress=said.append, waiting=FakeTime().waiting()).run(),
        app=app,
        firms=firms,
        seed=seed,
    )


def on_grid(
    built: Federation,
    use: Callable[[Grid], T],
    *,
    app: Callable[[Message, Context], Message] = client_app,
    firms: Sequence[str] | None = None,
    seed: int = 0,
) -> T:
    """What `use` makes of a grid of these firms' nodes."""
    out: list[T] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        out.append(use(grid))

    nodes = [{"home": str(built.member(name))} for name in (firms or (*built.firms, *built.holders))]
    run_in_process(server_app, app, nodes, {}, seed)  # type: ignore[arg-type]  # all it does is call it
    return out[0]


Before = Callable[[str, str, Message], Message | None]
After = Callable[[str, str, Message, Message], Message | None]


class Meddler:
    """The firms' app with a hand in between: `before` may answer in a firm's place, `after` may change its reply.

    Both get the kind of message and the firm; an exception in either is a firm (or a reply) that is lost on the way.
    """

    def __init__(self, before: Before | None = None, after: After | None = None) -> None:
        self._before, self._after = before, after
        self.asked: list[tuple[str, str]] = []

    def __call__(self, message: Message, context: Context) -> Message:
        kind, member = message.metadata.message_type, Path(str(context.node_config["home"])).name
        self.asked.append((kind, member))
        if self._before is not None and (early := self._before(kind, member, message)) is not None:
            return early
        reply = client_app(message, context)
        changed = None if self._after is None else self._after(kind, member, message, reply)
        return reply if changed is None else changed


class Lost(Exception):
    """Raised by a meddler: the message or the reply is gone."""


def with_fields(kind: str, message: Message, reply: Message, change: Callable[[dict[str, Any]], None]) -> Message:
    """The reply with its fields changed in place by `change`; a refusal stays one."""
    try:
        fields = unpack(reply.content, REPLIES[kind], kind)
    except Refusal:
        return reply
    del fields["v"]
    change(fields)
    return Message(pack(fields), reply_to=message)


def rounds(coordinator: Coordinator, task: str = TASK) -> list[Round]:
    """The task's rounds on the ledger, oldest first, with what the rules forget of those that are over."""
    statements = [decode_statement(raw) for raw in coordinator.log.entries(0, coordinator.log.size)]
    contributions = contributions_of(statements)
    found = [one for one in coordinator.log.state.rounds.values() if one.task == task]
    return [_whole(one, statements, contributions) for one in sorted(found, key=lambda one: one.index)]


def _whole(one: Round, statements: list[Statement], contributions: Mapping[bytes, Mapping[str, Contribution]]) -> Round:
    given: Map[str, Contribution] = Map()
    for firm, contribution in contributions[one.id].items():
        given = given.set(firm, contribution)
    cohort = {firm: place for place, firm in enumerate(statements[one.index].payload["cohort"])}
    return replace(one, cohort=cohort, contributions=given)


def stored(coordinator: Coordinator, one: Round) -> list[str]:
    """The firms of a round whose masked values are in the store."""
    found = []
    for firm, contribution in one.contributions.items():
        with suppress(ArtifactMissing):
            header = Header.from_bytes(coordinator.artifacts.get(contribution.commit))
            coordinator.artifacts.get(header.masked)
            coordinator.artifacts.get(header.pair_seeds)
            found.append(firm)
    return found


def phases(coordinator: Coordinator, task: str = TASK) -> list[str]:
    return [str(one.phase) for one in rounds(coordinator, task)]


def spent(built: Federation, firm: str, task: str = TASK) -> tuple[int, ...]:
    """What the firm's wallet says, read from its file."""
    with Wallet(built.member(firm) / "wallet.sqlite") as wallet:
        return wallet.spent("one row", f"data/{task}.csv")
