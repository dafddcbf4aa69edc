"""What a firm has chosen, in `personal/<task>.json` of its home: readable by its owner alone, and by people.

A choice is a few numbers. Models are fitted anew from the firm's table when they are used, so nothing here is code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from clients.personal.credit import CreditChoice
from clients.personal.demand import DemandChoice
from clients.personal.errors import NotPersonalised
from clients.releases import HeldRelease
from clients.tasks.spec import TaskSpec
from ledger.whole_file import write_whole

FOLDER = "personal"
_VERSION = 1
Choice = CreditChoice | DemandChoice
_KINDS: Mapping[str, type[CreditChoice] | type[DemandChoice]] = {"credit": CreditChoice, "demand": DemandChoice}


def keep(home: Path, spec: TaskSpec, release: HeldRelease, choice: Choice) -> Path:
    """Write a choice, whole or not at all, in place of the one before."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{spec.name}.json"
    document = {**_binding(spec, release), "choice": asdict(choice)}
    write_whole(path, json.dumps(document, indent=2, sort_keys=True) + "\n")
    return path


def kept(home: Path, spec: TaskSpec, release: HeldRelease) -> Choice:
    """The choice that was made on top of this very release.

    Raises:
        NotPersonalised: there is none, it was made on top of another release, or it cannot be read.
    """
    path, again = home / FOLDER / f"{spec.name}.json", f"run: artesian firm personalise {spec.name}"
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotPersonalised(f"{spec.name}: no personal layer has been chosen yet; {again}") from None
    except (OSError, ValueError) as error:
        raise NotPersonalised(f"{path}: cannot be read: {error}; {again}") from error
    binding = _binding(spec, release)
    if not isinstance(document, dict) or {key: document.get(key) for key in binding} != binding:
        raise NotPersonalised(f"{path}: it was chosen on top of another release or task spec; {again}")
    try:
        return TypeAdapter(_KINDS[spec.kind]).validate_python(document.get("choice"))
    except ValidationError as error:
        raise NotPersonalised(f"{path}: {error.error_count()} fields are not as they were written; {again}") from error


def _binding(spec: TaskSpec, release: HeldRelease) -> dict[str, Any]:
    return {"v": _VERSION, "task": spec.name, "spec": spec.hash.hex(), "release": release.model.hex()}
