"""No exit code and no reason without its page, and no page without its code: both read from the source."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Set
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from flwr.common.constant import ErrorCode

import artesian
from clients.reasons import FAMILIES, NoSuchReason, find, pages
from ledger.rules.catalogue import RULES

ROOT = Path(__file__).resolve().parents[1]
SKELETON = """# {title}: {code}

**Means.** ...

**Who sees it.** ...

**What to do.** ...

```
(the line as it is seen)
```"""
NOT_AT_A_FIRM = ("ledger/service/", "ledger/commands/")
"""What a service or a command raises does not answer a message of a round."""


@cache
def trees(*folders: str) -> dict[str, ast.Module]:
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in paths}


@cache
def nodes(*folders: str) -> dict[str, list[ast.AST]]:
    """All nodes of each of their files."""
    return {file: list(ast.walk(tree)) for file, tree in trees(*folders).items()}


def named(node: ast.expr) -> str:
    return ast.unparse(node).split(".")[-1]


@cache
def definitions() -> list[tuple[str, str, frozenset[str]]]:
    """Every class of `ledger` and `clients`: its name, its file, its bases."""
    return [
        (node.name, file, frozenset(map(named, node.bases)))
        for file, inside in nodes("ledger", "clients").items()
        for node in inside
        if isinstance(node, ast.ClassDef)
    ]


def below(*roots: str) -> set[str]:
    """These classes and all that derive from them, where a firm may raise them."""
    found, todo = set(roots), list(roots)
    while todo:
        above = todo.pop()
        new = {name for name, file, of in definitions() if above in of and not file.startswith(NOT_AT_A_FIRM)} - found
        found |= new
        todo += new
    return found


def tuple_in_door(name: str) -> list[str]:
    """The names in one of the tuples of `clients/disclosure.py`."""
    for node in trees("clients")["clients/disclosure.py"].body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Tuple(elts=elements)) if found == name:
                return [named(one) for one in elements]
    raise AssertionError(f"clients/disclosure.py has no tuple {name} any more: read its list of errors here anew")


def refusals() -> Iterator[str]:
    """The codes of `Refusal(code, …)`; where it is a variable, of the rows `(…, code, …)` that it is taken from."""
    for inside in nodes("clients").values():
        for node in inside:
            match node:
                case ast.Call(func=func, args=[ast.Constant(value=str(code)), *_]) if named(func) == "Refusal":
                    yield code
                case ast.FunctionDef() if any(_refuses_by_name(one) for one in ast.walk(node)):
                    for row in ast.walk(node):
                        match row:
                            case ast.Tuple(elts=[_, ast.Constant(value=str(code)), _]):
                                yield code


def _refuses_by_name(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=func, args=[ast.Name(), *_]):
            return named(func) == "Refusal"
    return False


def exits() -> set[str]:
    codes = {0, artesian.WRONG_USAGE, artesian.UNREACHABLE, artesian.INTERRUPTED, artesian.BROKEN_PIPE}
    for inside in nodes("ledger", "clients", "server", "experiments").values():
        for node in inside:
            match node:
                case ast.Assign(targets=[ast.Name(id="exit_code")], value=ast.Constant(value=int(code))):
                    codes.add(code)
    return set(map(str, codes))


def statuses(*folders: str) -> set[str]:
    """The gRPC statuses that these files answer with."""
    return {
        node.attr
        for inside in nodes(*folders).values()
        for node in inside
        if isinstance(node, ast.Attribute) and named(node.value) == "StatusCode"
    }


@cache
def of_firms() -> frozenset[str]:
    told = (
        below(*tuple_in_door("_TOLD")) - below(*tuple_in_door("_OWN"))
        | below("WalletRefused")
        | {"SchemaMismatch", "Unready"}
    )
    return frozenset(name for name in told if not name.startswith("_")) | frozenset(refusals())


def of_the_coordinator() -> set[str]:
    """Codes with which the coordinator notes why a firm is not in a round, where they are not the firm's own."""
    codes = {
        keyword.value.value
        for inside in nodes("server").values()
        for node in inside
        if isinstance(node, ast.Call) and named(node.func) in ("note", "NoAnswer")
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }
    return set(map(str, codes)) - of_firms()


def of_the_ledger() -> set[str]:
    codes = set(RULES)
    for inside in nodes("ledger").values():
        for node in inside:
            match node:
                case ast.Call(func=func, args=[ast.Constant(value=str(rule)), *_]) if named(func) == "Refused":
                    codes.add(rule)
    return codes


def of_the_join_desk() -> set[str]:
    errors = trees("clients").get("clients/enrolment/errors.py")
    kinds = {node.name for node in errors.body if isinstance(node, ast.ClassDef)} if errors else set()
    return kinds | statuses("server/enrolment")


CODES: dict[str, Callable[[], Set[str]]] = {
    "exit": exits,
    "firm": of_firms,
    "coordinator": of_the_coordinator,
    "ledger": of_the_ledger,
    "scores": lambda: statuses("server/scoring"),
    "join": of_the_join_desk,
    "flower": lambda: {str(code) for name, code in vars(ErrorCode).items() if name.isupper()},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_code_lacks_its_page_and_no_page_its_code(family: str) -> None:
    codes = {code.replace(" ", "-"): code for code in CODES[family]()}
    there = {page.code for page in pages() if page.family == family}
    faults = [
        f"write docs/reasons/{family}/{slug}.md, for instance:\n{SKELETON.format(title=family, code=code)}\n"
        for slug, code in sorted(codes.items())
        if slug not in there
    ]
    faults += [f"delete docs/reasons/{family}/{slug}.md: no code is called so" for slug in sorted(there - codes.keys())]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", pages(), ids=lambda page: f"{page.family}/{page.code}")
def test_a_page_says_what_it_means_and_what_to_do(page: object) -> None:
    text = page.text  # type: ignore[attr-defined]
    assert text.startswith("# ")
    assert "..." not in text
    for part in ("**Means.**", "**Who sees it.**", "**What to do.**", "```\n"):
        assert text.count(part) >= 1, part
    assert len(text.split()) < 160


def test_the_collectors_see_what_is_there() -> None:
    assert {"cohort", "privacy", "threshold", "key holder", "OverCap", "Unready", "PairSecretRefused"} <= of_firms()
    assert not {"Damaged", "StoreError", "TableInvalid", "_NotHandedOver", "KeyFileError"} & of_firms()
    assert exits() == {"0", "1", "2", "3", "130", "141"}
    assert {"Absent", "NoAnswer"} <= of_the_coordinator()
    assert {"cap", "base", "statement"} <= of_the_ledger()
    assert "PERMISSION_DENIED" in statuses("server/scoring")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("threshold", ["firm/threshold"]),
        ("cohort", ["firm/cohort", "ledger/cohort"]),
        ("ledger/cohort", ["ledger/cohort"]),
        ("2", ["exit/2", "flower/2"]),
        ("PairSecretRefused/firm-3", ["firm/PairSecretRefused"]),
        ("key holder: 'x' is not among those", ["firm/key-holder"]),
        ("overcap", ["firm/OverCap"]),
    ],
)
def test_a_page_is_found_by_what_is_seen(asked: str, found: list[str]) -> None:
    assert [f"{page.family}/{page.code}" for page in find(asked)] == found


def test_what_has_no_page_says_what_begins_alike() -> None:
    with pytest.raises(NoSuchReason, match="begin alike: threshold"):
        find("thresh")


def test_explain_prints_the_page_and_lists_all() -> None:
    runner = CliRunner()
    said = runner.invoke(artesian.app, ["explain", "threshold"])
    assert said.output == (ROOT / "docs/reasons/firm/threshold.md").read_text("utf-8")
    listed = json.loads(runner.invoke(artesian.app, ["explain", "--json"]).output)
    assert listed["exit"] == ["0", "1", "130", "141", "2", "3"]
    assert artesian.run(["explain", "no-such-code"]) == 2
