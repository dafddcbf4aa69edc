"""Dependencies point one way, and Flower stays behind its engine: read from the source, not from a run."""

import ast
from collections.abc import Callable, Iterator
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
FLOWER_ENGINES = "server/engines"
FLOWER_FILES = {
    "server/engine.py",
    *(f"clients/{name}.py" for name in ("app", "node", "messages")),
    *(f"server/{name}.py" for name in ("app", "rounds", "cohort", "witnessing")),
    "experiments/benchmarks/engine_rounds.py",  # measures the engines with toy apps of its own
}
# Measures Flower's own secure aggregation, which only its internals offer, beside ours.
FLOWER_MEASURED = "experiments/benchmarks/flower_secagg.py"

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
    if file == FLOWER_MEASURED or file.startswith(f"{FLOWER_ENGINES}/"):
        return []
    found = [(line, name) for line, name in imports(file, source) if name.split(".")[0] == "flwr"]
    if file not in FLOWER_FILES:
        return [f"{file}:{line} imports {name}; use server.engine" for line, name in found]
    return [
        f"{file}:{line} imports {name}; outside {FLOWER_ENGINES} only {', '.join(sorted(FLOWER_PUBLIC))}"
        for line, name in found
        if name not in FLOWER_PUBLIC
    ]


def test_every_package_is_read() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(MAY_IMPORT)


@pytest.mark.parametrize("rule", [wrong_way, flower_out_of_place], ids=lambda rule: str(rule.__name__))
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
    ],
)
def test_an_import_of_flower_out_of_place_is_named(file: str, source: str, faults: int) -> None:
    assert len(flower_out_of_place(file, source)) == faults
