"""The versions of the message schema that a program speaks, and how it talks to one that speaks an older one.

Handlers know the newest schema and no other. What a version adds to the one before says, for each new field, which
value a message means that lacks it: so an older message is read as a newer one, and a newer message is sent to an older
program without the field where it has just that value. Where it has another, or where the whole kind is new, nothing is
sent and nothing is left out: the program that is too old is named. `query.hello`, in which two programs agree on a
version, never changes; it grows by its extension (`clients.greeting`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from clients.messages import HELLO, LOWEST, REPLIES, REQUESTS
from clients.versions import MESSAGE_VERSIONS, Span, VersionMismatch

Schema = Mapping[str, Mapping[str, type]]
"""The fields of each kind of message."""
Side = Literal["request", "reply"]
Meanings = Mapping[str, Mapping[str, Any]]
"""By kind and field: what a message of an older version means, which lacks the field."""


@dataclass(frozen=True)
class Added:
    """What one version of the schema has more than the one before; a version takes nothing away.

    Attributes:
        version: which one.
        kinds: the kinds of messages that are new.
        requests: new fields of requests of older kinds.
        replies: new fields of their replies.
    """

    version: int
    kinds: frozenset[str] = frozenset()
    requests: Meanings = field(default_factory=dict)
    replies: Meanings = field(default_factory=dict)


@dataclass(frozen=True)
class Dialect:
    """The messages that one release speaks.

    Attributes:
        span: the versions of the schema.
        requests, replies: the fields of the newest of them.
        added: what each of them has that the one before had not; those up to `span.lowest` need not be there.
    """

    span: Span = MESSAGE_VERSIONS
    requests: Schema = field(default_factory=lambda: REQUESTS)
    replies: Schema = field(default_factory=lambda: REPLIES)
    added: tuple[Added, ...] = ()

    def version(self, kind: str, said: int) -> int:
        """The version in which a firm reads a message of this kind, which says that it is of version `said`.

        Raises:
            VersionMismatch: the firm's program does not speak it.
        """
        if kind == HELLO:
            return LOWEST
        if said not in self.span:
            older = "this firm" if said > self.span.highest else "the coordinator"
            raise VersionMismatch(f"{kind}: it is of version {said}, this firm speaks {self.span}: upgrade {older}")
        return said

    def schema(self, side: Side, kind: str, version: int) -> dict[str, type]:
        """The fields of a kind of message in one version of the schema.

        Raises:
            VersionMismatch: that version has no such kind.
        """
        if any(kind in one.kinds for one in self._newer(version)):
            raise VersionMismatch(f"{kind} needs messages of a newer version than {version}")
        newer = self._meanings(side, kind, version)
        fields = self.requests[kind] if side == "request" else self.replies[kind]
        return {name: of for name, of in fields.items() if name not in newer}

    def lowered(self, side: Side, kind: str, fields: Mapping[str, Any], version: int) -> Mapping[str, Any]:
        """A message of the newest version as one of an older version says the same.

        Raises:
            VersionMismatch: the older version cannot say it.
        """
        self.schema(side, kind, version)
        newer = self._meanings(side, kind, version)
        if not newer:
            return fields
        lost = sorted(name for name, meaning in newer.items() if fields[name] != meaning)
        if lost:
            raise VersionMismatch(f"{kind}: {', '.join(lost)} needs messages of a newer version than {version}")
        return {name: value for name, value in fields.items() if name not in newer}

    def raised(self, side: Side, kind: str, fields: Mapping[str, Any], version: int) -> dict[str, Any]:
        """A message of an older version as one of the newest version says the same."""
        return {**fields, **self._meanings(side, kind, version)}

    def _newer(self, version: int) -> list[Added]:
        return [one for one in self.added if one.version > version]

    def _meanings(self, side: Side, kind: str, version: int) -> dict[str, Any]:
        """The fields that messages of this version lack, each with what that means."""
        if kind == HELLO:
            return {}
        of = (one.requests if side == "request" else one.replies for one in self._newer(version))
        return {name: meaning for kinds in of for name, meaning in kinds.get(kind, {}).items()}


SPOKEN = Dialect()
"""What this release speaks."""
