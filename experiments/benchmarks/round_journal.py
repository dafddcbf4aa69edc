"""What it costs a round that it can be taken up, and how long it takes to take one up.

Three firms with homes on disk, a masked round of a scorecard, everything in this process. Beside: the same rounds with
no journal at the coordinator and no kept replies at the firms, in turns. A round is taken up after its run was ended
while it asked firms to open the sum; the clock runs from opening the coordinator's home until a firm is asked again.
"""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest.mock import patch

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from clients.app import app as client_app
from clients.firm import close_firms
from clients.kept_reply import KeptReply
from clients.messages import OPEN
from clients.tasks.spec import parse_spec
from clients.tasks.task import task_for
from experiments.benchmarks.figure import Figure
from experiments.benchmarks.small_task import SPEC, TASK, table
from experiments.federation import FederatedTask, Federation, Terms, build
from server.coordinator import Coordinator
from server.engine import run_in_process
from server.round_journal import RoundJournal
from server.rounds import Run
from server.training_config import TrainingConfig

COMMAND = "artesian bench round_journal"
_RECORDS, _FIRMS = 60, 3


class _Ended(BaseException):
    """The coordinator's process ends here."""


def run(rounds: int = 10, runs: int = 3) -> list[Figure]:
    """Train `rounds` rounds `runs` times each way, and take as many rounds up."""
    times: dict[bool, list[float]] = {True: [], False: []}
    taken_up = []
    for _ in range(runs):
        for journaled in (True, False):
            times[journaled] += _rounds(rounds, journaled)
        taken_up.append(_taken_up())
    beside = {"without a journal and kept replies": 1000 * median(times[False])}
    whole = 1000 * median(times[True])
    return [
        Figure("a masked round that can be taken up, 3 firms", whole, "ms", beside, rounds * runs, COMMAND),
        Figure("from a start to the next step of an open round", 1000 * median(taken_up), "ms", {}, runs, COMMAND),
    ]


def _rounds(rounds: int, journaled: bool) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="artesian-journal-") as root:
        built = _federation(Path(root) / "f", rounds)
        if journaled:
            return _train(built, client_app).seconds
        with (
            patch("server.rounds.RoundJournal", lambda store, task, now: RoundJournal(None, task, now)),
            patch.object(KeptReply, "keep", lambda *_: None),
        ):
            return _train(built, client_app).seconds


def _taken_up() -> float:
    """Seconds to take up a round whose sum was being opened."""
    with tempfile.TemporaryDirectory(prefix="artesian-journal-") as root:
        built = _federation(Path(root) / "f", 1)
        asked: list[float] = []

        def ending(message: Message, context: Context) -> Message:
            if message.metadata.message_type == OPEN:
                asked.append(perf_counter())
                if len(asked) == 1:
                    raise _Ended
            return client_app(message, context)

        try:
            _train(built, ending)
        except _Ended:
            began = perf_counter()
        _train(built, ending)
        return asked[1] - began


def _train(built: Federation, app: Callable[[Message, Context], Message]) -> Run:
    out: list[Run] = []
    server_app = ServerApp()
    try:
        with Coordinator(built.coordinator) as coordinator:

            @server_app.main()
            def main(grid: Grid, context: Context) -> None:
                out.append(Run(grid, coordinator, TASK))
                out[0].run()

            nodes = [{"home": str(built.member(name))} for name in built.firms]
            run_in_process(server_app, app, nodes, {})  # type: ignore[arg-type]  # all it does is call it
    finally:
        close_firms()
    return out[0]


def _federation(home: Path, rounds: int) -> Federation:
    config = TrainingConfig.model_validate(
        {
            "training": {"rounds": rounds, "rate": 2.0},
            "privacy": {"mode": "distributed", "epsilon": 4.0},
            "aggregation": {"kind": "masked", "deadline_s": 60},
        }
    )
    parts = [table(number, _RECORDS) for number in range(_FIRMS)]
    task = FederatedTask(TASK, task_for(parse_spec(tomllib.loads(SPEC), "benchmark")), SPEC, parts, config)
    limits = {"min_cohort": 3, "colluders": 0, "epsilon": 20.0, "delta": 1e-5, "aggregation": ["masked"]}
    return build(home, [task], Terms("simulation", 3, 5, True, False, limits))
