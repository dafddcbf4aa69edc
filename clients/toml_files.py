"""TOML files read into pydantic models: whatever is wrong is one line that names the file and the key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
_PATTERNS = {SLUG: "must be 1 to 63 lower-case letters, digits and hyphens, of which a hyphen is not the first"}
_OURS = {"extra_forbidden": "unknown key", "model_type": "must be a table"}

_WHOSE = {
    "firm.toml": "a firm's home has it: give that as --home, or make one with artesian firm join",
    "connection.toml": "a member's home has it: give that as --home, or make one with artesian firm join, or bank join",
    "coordinator.toml": "the coordinator's home has it: give it as --home, or make it with artesian coordinator init",
}


def load_toml(path: Path, model: type[M], refusal: type[Exception]) -> M:
    """Read a TOML file as a `model`.

    Raises:
        refusal: the file is missing, is not TOML, or breaks a rule of the model; one line says where.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = _WHOSE.get(path.name) if isinstance(error, FileNotFoundError) else None
        raise refusal(f"{path}: cannot be read: {error.strerror}{f'; {hint}' if hint else ''}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise refusal(f"{path}: not valid TOML: {error}") from error
    return validated(document, model, refusal, str(path))


def validated(document: Mapping[str, Any], model: type[M], refusal: type[Exception], where: str) -> M:
    """A parsed document as a `model`; `where` names it in the `refusal`."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise refusal(f"{where}: {_first_violation(error)}") from error


def _first_violation(error: ValidationError) -> str:
    """One line about what is wrong first: a misspelt key before the one that is missing for it."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    message = _OURS.get(first["type"], first["msg"].removeprefix("Value error, "))
    message = _PATTERNS.get(first.get("ctx", {}).get("pattern", ""), message)
    missing = [one["loc"] for one in error.errors() if one["type"] == "missing"]
    beside = [str(loc[-1]) for loc in missing if first["type"] == "extra_forbidden" and loc[:-1] == first["loc"][:-1]]
    message += f"; missing: {', '.join(beside)}" if beside else ""
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return " ".join(f"{key + ': ' if key else ''}{message}{more}".split())
