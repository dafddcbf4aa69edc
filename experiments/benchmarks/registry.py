"""The benchmarks by name; each is a module of this package whose `run()` measures, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from experiments.benchmarks.figure import Figure
from experiments.errors import ExperimentError

# In the order in which `artesian bench` runs them: a module of this package, and what it measures.
BENCHMARKS: dict[str, str] = {
    "startup": "how long artesian --help takes",
    "masked_round": "what masking adds to a round",
    "masked_scale": "masking by firms and parameters: clients, server, drop-outs, audit, the server's memory",
    "masked_accuracy": "what masking and summed weights cost in AUC, beside plain averaging in float64",
    "coordinator_memory": "the memory of a whole coordinator, by its firms",
    "encrypted_scale": "encrypted sums by parameters: firms, server, key holder and bytes, beside masks and fp32",
    "engine_rounds": "what an engine alone costs a round",
    "deployed_round": "a round of a deployment of real processes, with executors that fork and without (minutes)",
    "recovery": "from kill -9 of each kind of process in a round to its next step and end (a quarter of an hour)",
    "idle_nodes": "memory and processor time of all of a coordinator's processes with 100 idle firms (minutes)",
    "engines": "a round of 100 firms with a scorecard, in process and on Ray",
    "round_journal": "what it costs a round that it can be taken up, beside none of that, and how long taking up takes",
    "ledger_appends": "durable appends with signatures checked, beside the database alone",
    "ledger_proofs": "proofs and receipts at a million entries, and checking a receipt offline",
    "ledger_start": "starting a ledger of a million entries after a crash",
    "ledger_quorum": "from submitting a statement to its finality by ten witness processes",
    "ledger_served": "from appending to finality through a served ledger, beside a log in one's own process",
    "accounting": "epsilon as it is told beside the tightest known accountants, and how long it takes",
    "wallet": "paying from a privacy wallet with fsync, refusing, opening a long one, beside a bare commit",
    "table_reading": "what reading a table anew costs a firm in a round, from a file and from a query, beside pandas",
    "unit_gradients": "a private step of every kind of model, beside plain SGD and Opacus, on one thread",
    "credit_training": "a whole private training of a scorecard, beside Opacus's own engine",
    "credit": "AUC with and without privacy, beside central LightGBM and local-only training (a quarter of an hour)",
    "poisoning": "AUC under poisoning for every defence, with and without noise (half an hour)",
    "measurement": "how far a measured AUC or WAPE is off, by what it may cost, beside the error that it states",
    "privacy_audit": "epsilon that canaries show beside what is claimed, as the code is and with faults",
    "algorithms": "what the planner rests on: algorithms and lengths of runs on validation parts (half an hour)",
    "demand": "WAPE with and without privacy, beside local-only and central models",
    "demand_personal": "WAPE of firms' own models on top of the federated one, beside the same alone (an hour)",
}


class UnknownBenchmark(ExperimentError):
    """No benchmark has this name."""


def benchmark(name: str) -> Callable[[], list[Figure]]:
    """The benchmark of that name, ready to run.

    Raises:
        UnknownBenchmark: naming those that there are.
    """
    if name not in BENCHMARKS:
        raise UnknownBenchmark(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    run: Callable[[], list[Figure]] = import_module(f"{__package__}.{name}").run
    return run
