"""Dependencies point one way, and Flower stays behind its engine: read from the source, not from a run."""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each package may import of ours; `artesian`, the command line, stands above them all.
MAY_IMPORT = {
    "ledger": {"ledger"},
    "clients": {"clients", "ledger"},
    "server": {"server", "clients", "ledger"},
    "experiments": {"experiments", "server", "clients", "ledger"},
}
OURS = {*MAY_IMPORT, "artesian"}

FLOWER_PUBLIC = {"flwr.app", "flwr.clientapp", "flwr.serverapp"}
FLOWER_ENGINES = ("server/engines/", "clients/flower/")  # a firm's half: its SuperNode and the executor of its tasks
FLOWER_FILES = {
    "server/engine.py",
    *(f"clients/{name}.py" for name in ("app", "node", "messages", "disclosure")),
    *(
        f"server/{name}.py"
        for name in ("app", "asking_again", "inquiry", "rounds", "cohort", "envelopes", "witnessing", "measuring")
    ),
    "experiments/benchmarks/engine_rounds.py",  # measures the engines with toy apps of its own
    "experiments/benchmarks/round_journal.py",  # ends a run in the middle, between two messages
}
# Measures Flower's own secure aggregation, which only its internals offer, beside ours.
FLOWER_MEASURED = "experiments/benchmarks/flower_secagg.py"

# The one door: who in `clients` may make what Flower carries, settle a payment, or reach the network.
DOOR = "clients/disclosure.py"
CODEC = "clients/messages.py"
MAY_CALL: dict[str, set[str]] = {
    **{key: {CODEC} for key in ("RecordDict", "ConfigRecord")},
    **{key: set[str]() for key in ("ArrayRecord", "MetricRecord", "ParametersRecord")},
    **{key: {DOOR} for key in ("Message", "pack", "pack_refused", "settle", "may_vote", "Paid", "Leaving")},
    "create_engine": {"clients/sql_tables.py"},  # reads the firm's own database, and sends it nothing but the query
    "raw_connection": {"clients/sql_tables.py"},
    "seal_opening": {"clients/dispute.py"},  # which hands it to the door
}
NAMED_ALIKE = {"ring", "struct"}  # they pack integers
MAY_IMPORT_NAME = {
    **{key: {CODEC, DOOR} for key in ("ConfigRecord", "RecordDict")},
    "pack": {DOOR},
    "pack_refused": {DOOR},
}
NETWORK = {
    *("aiohttp", "asyncio", "ftplib", "grpc", "http", "httpx", "multiprocessing", "requests", "smtplib", "socket"),
    *("ssl", "subprocess", "telnetlib", "urllib", "webbrowser", "websockets", "xmlrpc", "ledger.service.client"),
    *("psycopg", "prometheus_client", "opentelemetry"),
}
REACHES_OUT = {
    "clients/tracing.py",  # sends times and names of messages to the collector that the operator names; off without one
    "clients/metrics_exporter.py",  # listens on loopback, for the firm's own monitoring, when its operator starts it
    "clients/bank.py",  # a bank asks the coordinator, and has no records of a firm
    "clients/enrolment/desk_client.py",  # asks to join: names, public keys and signatures, and nothing of a table
    "clients/enrolment/mirroring.py",  # a new member fetches the ledger
    "clients/enrolment/enrolment_pb2_grpc.py",
    "clients/enrolment/generate.py",  # compiles the desk's protocol
    "clients/scoring/generate.py",  # compiles the bank's protocol
    "clients/scoring/scores_pb2_grpc.py",
    # What keeps a firm's processes running opens none of its files but certificates, and connects to see who listens.
    *(f"clients/supervision/{name}.py" for name in ("detached", "keeper", "starting", "supervisor", "up")),
    "clients/doctor/probe.py",  # looks whether services answer, and sends them nothing of the home
    "clients/doctor/services.py",
    "clients/sql_settings.py",  # takes the URL of the firm's own database apart
    "clients/sql_tables.py",  # reads that database, and sends it nothing but the query of firm.toml
    "clients/proxy.py",  # takes a URL apart
    # The firm's SuperNode carries replies that the door has made; none of these opens a file of the firm's records.
    *(
        f"clients/flower/{name}.py"
        for name in ("flower_api", "former_node", "generate", "kept_answer", "node_state", "own_socket")
    ),
    *(f"clients/flower/{name}.py" for name in ("runtime_client", "supernode")),
}

SOURCES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imports(file: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that `source` imports, at any depth and under TYPE_CHECKING too."""
    package = PurePosixPath(file).parent.parts
    for node in ast.walk(ast.parse(source, file)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, level=0):
                yield node.lineno, str(module)
            case ast.ImportFrom(module=module, level=level):
                above = package[: len(package) - level + 1]
                yield node.lineno, ".".join([*above, *([module] if module else [])])
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def wrong_way(file: str, source: str) -> list[str]:
    """Imports of ours that `file` may not make."""
    package = PurePosixPath(file).parts[0]
    return [
        f"{file}:{line} imports {name}; {package} may import only {', '.join(sorted(MAY_IMPORT[package]))}"
        for line, name in imports(file, source)
        if name.split(".")[0] in OURS - MAY_IMPORT[package]
    ]


def flower_out_of_place(file: str, source: str) -> list[str]:
    """Imports of Flower that `file` may not make."""
    if file == FLOWER_MEASURED or file.startswith(FLOWER_ENGINES):
        return []
    found = [(line, name) for line, name in imports(file, source) if name.split(".")[0] == "flwr"]
    if file not in FLOWER_FILES:
        return [f"{file}:{line} imports {name}; use server.engine" for line, name in found]
    return [
        f"{file}:{line} imports {name}; outside {' and '.join(FLOWER_ENGINES)} only {', '.join(sorted(FLOWER_PUBLIC))}"
        for line, name in found
        if name not in FLOWER_PUBLIC
    ]


def around_the_door(file: str, source: str) -> list[str]:
    """What a file of `clients` does that only the door may do."""
    if not file.startswith("clients/"):
        return []
    tree, instead = ast.parse(source, file), f"; what leaves a firm goes through {DOOR}"
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if file not in MAY_CALL.get(name, {file}):
                found.append(f"{file}:{node.lineno} calls {name}{instead}")
            case ast.Call(func=ast.Attribute(value=of, attr=name)) if file not in MAY_CALL.get(name, {file}):
                if ast.unparse(of).split(".")[-1] not in NAMED_ALIKE:
                    found.append(f"{file}:{node.lineno} calls {name}{instead}")
            case ast.ImportFrom(names=names):
                odd = [one.name for one in names if file not in MAY_IMPORT_NAME.get(one.name, {file})]
                found += [f"{file}:{node.lineno} imports {name}{instead}" for name in odd]
            case ast.Attribute(value=ast.Name(id="context"), attr="state"):
                found.append(f"{file}:{node.lineno} uses Flower's state; what is the firm's stays in its home")
    if file not in REACHES_OUT:
        found += [
            f"{file}:{line} imports {name}; a firm only answers, through {DOOR}"
            for line, name in imports(file, source)
            if any(f"{name}.".startswith(f"{one}.") for one in NETWORK)
        ]
    return found


PERSONAL = "clients.personal"
"""A firm's own models: nothing that answers a message, or runs anywhere but at the firm, may have hold of them."""
MAY_PERSONALISE = ("clients/personal/", "clients/firm_commands.py", "experiments/")


def reached(start: str, sources: Mapping[str, str]) -> set[str]:
    """The files of ours that `start` imports, directly or through others.

    Args:
        sources: text by file.
    """
    found, open_ = {start}, [start]
    while open_:
        file = open_.pop()
        for _, name in _with_members(file, sources[file]):
            path = name.replace(".", "/")
            near = {f"{path}.py", f"{path}/__init__.py"}
            open_ += [one for one in near & sources.keys() if one not in found]
            found |= near & sources.keys()
    return found


def personal_out_of_place(file: str, source: str) -> list[str]:
    """Imports of a firm's own models that `file` may not make."""
    if file.startswith(MAY_PERSONALISE) or PERSONAL.split(".")[1] not in source:
        return []
    return [
        f"{file}:{line} imports {name}; a firm's own models stay at the firm"
        for line, name in _with_members(file, source)
        if f"{name}.".startswith(f"{PERSONAL}.")
    ]


def _with_members(file: str, source: str) -> Iterator[tuple[int, str]]:
    """As `imports`, and of `from a import b` also `a.b`: `from clients import personal` must be seen."""
    yield from imports(file, source)
    for node in ast.walk(ast.parse(source, file)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def test_nothing_that_answers_a_message_can_reach_a_firms_own_models() -> None:
    sources = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in SOURCES}
    answering = reached("clients/app.py", sources)
    assert {"clients/disclosure.py", "clients/taking.py", "clients/training/gradient_sum.py"} <= answering
    faults = [one for file in answering for one in _with_members(file, sources[file]) if PERSONAL in one[1]]
    assert not faults, "\n".join(map(str, faults))


def test_nothing_that_answers_a_message_supervises_processes() -> None:
    sources = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in SOURCES}
    supervising = {file for file in reached("clients/app.py", sources) if file.startswith("clients/supervision/")}
    assert not supervising & REACHES_OUT


@pytest.mark.parametrize(
    ("file", "source", "faults"),
    [
        ("clients/participation.py", "from clients.personal.demand import choose", 1),
        ("clients/app.py", "def late():\n    from clients import personal", 1),
        ("server/releases.py", "import clients.personal.kept", 1),
        ("clients/firm_commands.py", "from clients.personal.commands import forecast", 0),
        ("experiments/personal.py", "from clients.personal import credit", 0),
        ("clients/releases.py", "from clients.personality import x", 0),
    ],
)
def test_an_import_of_a_firms_own_models_is_named(file: str, source: str, faults: int) -> None:
    assert bool(personal_out_of_place(file, source)) == bool(faults)


def test_every_package_is_read() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    "rule",
    [wrong_way, flower_out_of_place, around_the_door, personal_out_of_place],
    ids=lambda rule: str(rule.__name__),
)
def test_every_file_keeps_to(rule: Callable[[str, str], list[str]]) -> None:
    faults = [fault for path in SOURCES for fault in rule(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("file", "source", "faults"),
    [
        ("ledger/log.py", "from clients.firm import Firm", 1),
        ("ledger/log.py", "def late():\n    import server.engine as engine, json", 1),
        ("ledger/rules/state.py", "from ..keys import PublicKey", 0),
        ("ledger/keys.py", "from servers import x\nimport clientside", 0),
        ("clients/bank.py", "if TYPE_CHECKING:\n    from server.scoring import desk", 1),
        ("clients/bank.py", "from importlib import import_module\nimport_module('server.scoring.desk')", 1),
        ("clients/bank.py", "import ledger.keys, clients.errors", 0),
        ("server/app.py", "import experiments, artesian", 2),
        ("server/app.py", "from clients import app\nfrom ledger import log", 0),
        ("experiments/figure.py", "import ledger, clients, server, experiments.errors", 0),
    ],
)
def test_an_import_against_the_direction_is_named(file: str, source: str, faults: int) -> None:
    found = wrong_way(file, source)
    assert len(found) == faults
    assert all(fault.startswith(f"{file}:") for fault in found)


@pytest.mark.parametrize(
    ("file", "source", "faults"),
    [
        ("clients/bank.py", "from flwr.app import Context", 1),
        ("server/model_store.py", "def late():\n    import flwr", 1),
        ("server/app.py", "from flwr.serverapp import Grid", 0),
        ("server/app.py", "from flwr.supercore.run import Run", 1),
        ("server/engine.py", "from flwr.common import parameters", 1),
        ("server/engines/grid.py", "from flwr.supercore.run import Run", 0),
        ("server/engines_too.py", "from flwr.app import Context", 1),
        ("clients/flower/supernode.py", "from flwr.supernode import start_client_internal", 0),
        ("clients/flowers.py", "from flwr.app import Context", 1),
    ],
)
def test_an_import_of_flower_out_of_place_is_named(file: str, source: str, faults: int) -> None:
    assert len(flower_out_of_place(file, source)) == faults


@pytest.mark.parametrize(
    ("file", "source", "faults"),
    [
        ("clients/vote.py", "from flwr.app import RecordDict\nRecordDict({})", 2),
        ("clients/app.py", "from flwr.app import Message\ndef f(m: Message) -> None: ...", 0),
        ("clients/app.py", "Message(content, reply_to=message)", 1),
        ("clients/app.py", "import flwr.app\nflwr.app.Message(content)", 1),
        ("clients/app.py", "context.state.config_records['rows'] = rows", 1),
        ("clients/participation.py", "from clients.messages import pack as wrap", 1),
        ("clients/participation.py", "from clients import messages\nmessages.pack({})", 1),
        ("clients/participation.py", "firm.wallet.settle(reservation)", 1),
        ("clients/participation.py", "Paid(_SEAL, 'nothing')", 1),
        ("clients/participation.py", "session.ring.pack(values)", 0),
        ("clients/participation.py", "import socket", 1),
        ("clients/participation.py", "import sqlalchemy as sa\nsa.create_engine(url)", 1),
        ("clients/sql_tables.py", "import sqlalchemy as sa\nsa.create_engine(url)", 0),
        ("clients/participation.py", "def late():\n    from urllib.request import urlopen", 1),
        ("clients/participation.py", "import ledger.service.client", 1),
        ("clients/participation.py", "from ledger.service.encryption_key import seal", 0),
        ("clients/dispute.py", "seal_opening(opening, key, auditor)", 0),
        ("clients/opening_commands.py", "seal_opening(opening, key, auditor)", 1),
        ("clients/disclosure.py", "Message(pack({}), reply_to=message)", 0),
        ("server/cohort.py", "Message(pack({}), node)", 0),
    ],
)
def test_a_way_around_the_door_is_named(file: str, source: str, faults: int) -> None:
    assert len(around_the_door(file, source)) == faults
