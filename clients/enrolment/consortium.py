"""`consortium.toml`: the policy that all members share. Its SHA-256 stands in every invite, and on the ledger."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clients.enrolment.errors import BadConsortium
from clients.tasks.spec import Slug, TaskSpec, parse_spec
from clients.toml_files import validated

CONSORTIUM = "consortium.toml"
TASKS = "tasks"
"""The folder of task specs in a home, `NAME.toml` each."""
MOST_TASKS = 64
MOST_APPS = 64
MOST_BYTES = 1 << 18
"""Of one file that the desk hands out."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ConsortiumTask(_Part):
    """A task of the consortium; `spec_sha256` is the spec's hash, the same for every spelling of the same spec."""

    name: Slug
    spec_sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @property
    def file(self) -> str:
        """Where the spec is, relative to a home."""
        return f"{TASKS}/{self.name}.toml"


class ConsortiumApp(_Part):
    """An app bundle that runs may be of; `version` is for people, `sha256` is the bundle's."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    version: str = Field(default="", pattern="^[0-9A-Za-z.+-]{0,32}$")

    def text(self) -> str:
        """The lines of the file."""
        return "\n".join(["[[app]]", f"version = {json.dumps(self.version)}", f'sha256 = "{self.sha256}"'])


class ConsortiumPolicy(_Part):
    """A whole `consortium.toml`.

    Attributes:
        version: of this file's form.
        cid: the consortium's id.
        name: its name, for people.
        min_cohort: fewest firms in a cohort and in an aggregate.
        signatures: of statements and approvals.
        task: what may be learned together.
        app: the app bundles of which runs may be; where none is named, each firm's approvals alone decide.
    """

    version: Literal[1] = 1
    cid: Slug
    name: str = Field(min_length=1, max_length=200)
    min_cohort: int = Field(default=3, ge=3)
    signatures: Literal["ed25519", "ed25519+ml-dsa-65"] = "ed25519"
    task: tuple[ConsortiumTask, ...] = Field(default=(), max_length=MOST_TASKS)
    app: tuple[ConsortiumApp, ...] = Field(default=(), max_length=MOST_APPS)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for what, named in (("a task", [one.name for one in self.task]), ("an app", [one.sha256 for one in self.app])):
            if len(set(named)) != len(named):
                raise ValueError(f"{what} is named twice")
        return self

    def names_app(self, sha256: str) -> bool:
        """Whether runs may be of this app bundle, as far as the members have decided it together."""
        return not self.app or any(one.sha256 == sha256 for one in self.app)

    def text(self) -> str:
        """The file, with comments."""
        lines = [
            "# The policy that all members of this consortium share. Its SHA-256 is in each invite and on the ledger:",
            "# a change of one byte makes another policy, which a quorum of the members has to approve.",
            f"version = {self.version}",
            f"cid = {json.dumps(self.cid)}",
            f"name = {_quoted(self.name)}",
            f"min_cohort = {self.min_cohort}  # fewest firms in a cohort, and fewest contributions in a sum",
            f"signatures = {json.dumps(self.signatures)}",
        ]
        for task in self.task:
            lines += ["", "[[task]]", f"name = {json.dumps(task.name)}", f'spec_sha256 = "{task.spec_sha256}"']
        for app in self.app:
            lines += ["", app.text()]
        return "\n".join([*lines, ""])


def read_policy(raw: bytes, where: str = CONSORTIUM) -> ConsortiumPolicy:
    """A policy from the bytes of its file.

    Raises:
        BadConsortium: it cannot be used; one line says why.
    """
    return validated(_document(raw, where), ConsortiumPolicy, BadConsortium, where)


def policy_of_home(home: Path) -> ConsortiumPolicy | None:
    """The policy in a home; None where there is none.

    Raises:
        BadConsortium: it cannot be read.
    """
    path = home / CONSORTIUM
    try:
        return read_policy(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadConsortium(f"{path}: cannot be read: {error.strerror}") from None


def policy_hash(raw: bytes) -> bytes:
    """SHA-256 of the file's bytes: `config` of the ledger's policy."""
    return hashlib.sha256(raw).digest()


def check_specs(policy: ConsortiumPolicy, specs: Mapping[str, bytes]) -> dict[str, TaskSpec]:
    """The specs of a policy's tasks by name, read from their files' bytes.

    Raises:
        BadConsortium: one is missing, or is not the one that the policy names.
    """
    found = {}
    for task in policy.task:
        raw = specs.get(task.name)
        if raw is None:
            raise BadConsortium(f"the spec of the task {task.name!r} is missing")
        spec = parse_spec(dict(_document(raw, task.file)), task.file)
        if spec.hash.hex() != task.spec_sha256:
            raise BadConsortium(
                f"{task.file}: its hash is {spec.hash.hex()[:16]}…, the consortium's policy says "
                f"{task.spec_sha256[:16]}…; it was changed after the policy was made"
            )
        found[task.name] = spec
    return found


def _document(raw: bytes, where: str) -> Mapping[str, object]:
    if len(raw) > MOST_BYTES:
        raise BadConsortium(f"{where}: has {len(raw)} bytes, at most {MOST_BYTES} are read")
    try:
        return tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConsortium(f"{where}: not valid TOML: {error}") from error


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
