"""The table of the rules is the rules: every name that the code refuses by, and no other, stands where it is used."""

import ast
from collections.abc import Iterator
from pathlib import Path

import ledger
from ledger.rules.catalogue import RULES, markdown
from ledger.rules.kinds import KINDS, SHARED
from ledger.rules.records import FIELDS, OWN_OPTIONAL

LEDGER = Path(ledger.__file__).parent
PLACES = [*sorted((LEDGER / "rules").glob("*.py")), LEDGER / "replay.py"]
MODULES = {path: ast.parse(path.read_text()) for path in PLACES}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node


def refusals(tree: ast.AST) -> set[str]:
    """The rule names of all `Refused("...")` below `tree`."""
    rules = [call.args[0] for name, call in calls(tree) if name == "Refused" and call.args]
    return {str(rule.value) for rule in rules if isinstance(rule, ast.Constant)}


FUNCTIONS = {
    node.name: node
    for path, tree in MODULES.items()
    if path.parent.name == "rules"
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef)
}


def reached(name: str, seen: set[str]) -> set[str]:
    """Rule names of the function `name` and of all that it calls within the rules."""
    if name in seen or name not in FUNCTIONS:
        return set()
    seen.add(name)
    function = FUNCTIONS[name]
    return refusals(function).union(*(reached(called, seen) for called, _ in calls(function)))


def test_every_refusal_stands_in_the_table_and_nothing_else() -> None:
    assert set().union(*(refusals(tree) for tree in MODULES.values())) == RULES.keys()
    for function in FUNCTIONS.values():
        for name, call in calls(function):
            assert name != "Refused" or isinstance(call.args[0], ast.Constant), f"{function.name}: spell the name out"


def test_every_record_type_lists_the_names_of_its_own_rule() -> None:
    for name, kind in KINDS.items():
        own = reached(kind.rule.__name__, set()) - {"genesis"}
        assert own - set(SHARED) == set(kind.refusals) - set(SHARED), name
        assert set(kind.refusals) <= own | set(SHARED), name
        assert list(kind.refusals) == sorted(kind.refusals), name
    shared = reached("admit", set())
    assert shared | {"signature"} == set(SHARED), "what admit and apply refuse by themselves"


def test_every_record_type_has_its_fields_its_rule_and_its_words() -> None:
    assert KINDS.keys() == FIELDS.keys()
    assert OWN_OPTIONAL.keys() <= FIELDS.keys()
    text = markdown()
    for name, kind in KINDS.items():
        assert (kind.rule.__doc__ or "").strip(), name
        assert f"| `{name}` | {kind.issuer.words} |" in text
    for rule in RULES:
        assert f"| `{rule}` | " in text
