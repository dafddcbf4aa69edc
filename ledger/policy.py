"""Whom to trust for a checkpoint: logs, witnesses, and the quorum, in the text of C2SP tlog-policy."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from ledger.errors import LedgerError
from ledger.note import COSIGNATURE_V1, ED25519, NoteError, Vkey

MAX_LINES = 4096
_REFUSED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class PolicyError(LedgerError):
    """The text is not a policy under which a checkpoint can be final."""

    exit_code = 2


def quorum_size(members: int) -> int:
    """How many of `members` voting members must cosign: f = (n-1)//3, q = (n+f)//2 + 1.

    Any two quorums share more than f members, so that no f dishonest ones can help two histories to finality.

    Raises:
        PolicyError: there are no members.
    """
    if members < 1:
        raise PolicyError("a consortium without members has no quorum; enrol members first")
    faulty = (members - 1) // 3
    return (members + faulty) // 2 + 1


@dataclass(frozen=True)
class Group:
    """Counts as a witness when `threshold` of its `members` (witnesses or groups) do."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """A trust policy for offline verification.

    Attributes:
        logs: keys of the accepted logs; one log may have several, of which any may have signed.
        witnesses: by the name that the policy gives them (here: the member id).
        groups: by name, in order of definition.
        quorum: name of the witness or group that must have witnessed a checkpoint.
    """

    logs: tuple[Vkey, ...]
    witnesses: Mapping[str, Vkey]
    groups: Mapping[str, Group]
    quorum: str

    @classmethod
    def of(cls, log: Vkey, witnesses: Mapping[str, Vkey]) -> Self:
        """The consortium's policy: one log, one vote a member, `quorum_size` of them.

        Raises:
            PolicyError: no witnesses, or two with the same key.
        """
        members = tuple(sorted(witnesses))
        group = Group(quorum_size(len(members)), members)
        return cls._checked((log,), {name: witnesses[name] for name in members}, {"members": group}, "members")

    @classmethod
    def joint(cls, log: Vkey, witnesses: Mapping[str, Vkey], electorates: Mapping[str, Collection[str]]) -> Self:
        """A policy that asks for a quorum of every one of several memberships; of one alone it is `of`.

        C2SP tlog-policy puts a witness into one group only, so a joint policy has no `text`: it is for programs.

        Args:
            witnesses: by member id, all that stand in any of the memberships.
            electorates: the memberships' members, by a group name that is no member's id.

        Raises:
            PolicyError: a membership is empty, or two witnesses have the same key.
        """
        if len(electorates) == 1:
            return cls.of(log, witnesses)
        groups = {name: Group(quorum_size(len(ids)), tuple(sorted(ids))) for name, ids in electorates.items()}
        whole = {**groups, "every_membership": Group(len(groups), tuple(groups))}
        return cls._checked((log,), {name: witnesses[name] for name in sorted(witnesses)}, whole, "every_membership")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a policy file.

        `quorum none` is refused: without witnesses nothing here is final.

        Raises:
            PolicyError: malformed; says which line.
        """
        if _REFUSED.search(text):
            raise PolicyError("the policy holds control characters or what is no UTF-8; it must be plain lines of text")
        lines = text.split("\n")
        if len(lines) > MAX_LINES:
            raise PolicyError(f"the policy has more than {MAX_LINES} lines; split it")
        parser = _Parser()
        for number, line in enumerate(lines, start=1):
            words = [word for word in re.split("[ \t]+", line) if word]
            if words and not words[0].startswith("#"):
                try:
                    parser.line(words)
                except (NoteError, PolicyError) as error:
                    raise PolicyError(f"policy line {number}: {error}") from None
        if parser.quorum is None:
            raise PolicyError("the policy has no quorum line; add: quorum <name>")
        return cls._checked(tuple(parser.logs), parser.witnesses, parser.groups, parser.quorum)

    @classmethod
    def _checked(
        cls, logs: tuple[Vkey, ...], witnesses: Mapping[str, Vkey], groups: Mapping[str, Group], quorum: str
    ) -> Self:
        if not logs:
            raise PolicyError("the policy names no log; add: log <vkey>")
        for what, keys in (("log", list(logs)), ("witness", list(witnesses.values()))):
            if len({vkey.key for vkey in keys}) != len(keys):
                raise PolicyError(f"the policy gives the same key to two {what} lines; each needs its own")
        shared = sorted(witnesses.keys() & groups.keys())
        if shared:
            raise PolicyError(f"the policy names both a witness and a group {shared[0]!r}; give each its own name")
        return cls(logs, witnesses, groups, quorum)

    def text(self) -> str:
        """The policy file; `parse` reads it back.

        Raises:
            PolicyError: a witness is in several groups, which a policy file cannot say: see `joint`.
        """
        grouped = [member for group in self.groups.values() for member in group.members]
        if len(set(grouped)) != len(grouped):
            raise PolicyError("no policy file says a quorum of several memberships; wait until the change is final")
        lines = [f"log {vkey}" for vkey in self.logs]
        lines += [f"witness {name} {vkey}" for name, vkey in self.witnesses.items()]
        lines += [f"group {name} {group.threshold} {' '.join(group.members)}" for name, group in self.groups.items()]
        return "\n".join([*lines, f"quorum {self.quorum}", ""])

    def is_met_by(self, cosigners: Collection[str]) -> bool:
        """Whether the witnesses named (by policy name) make up the quorum."""
        met = {name for name in self.witnesses if name in cosigners}
        for name, group in self.groups.items():
            if sum(member in met for member in group.members) >= group.threshold:
                met.add(name)
        return self.quorum in met

    def logs_named(self, origin: str) -> tuple[Vkey, ...]:
        """The keys of the log `origin`: several when it changed its key or moved, none if that log is not accepted."""
        return tuple(vkey for vkey in self.logs if vkey.name == origin)


class _Parser:
    """Collects the lines of a policy file; groups may refer only to what stands above them."""

    def __init__(self) -> None:
        self.logs: list[Vkey] = []
        self.witnesses: dict[str, Vkey] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._grouped: set[str] = set()

    def line(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self.logs.append(_vkey(vkey, ED25519))
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._define(name)
                self.witnesses[name] = _vkey(vkey, COSIGNATURE_V1)
            case ["group", name, threshold, *members] if members:
                self._define(name)
                self.groups[name] = Group(_threshold(threshold, len(members)), self._members(members))
            case ["quorum", name] if self.quorum is None:
                if name == "none":
                    raise PolicyError("'quorum none' would accept what no witness saw; name a group of witnesses")
                self._require_defined(name)
                self.quorum = name
            case ["quorum", *_]:
                raise PolicyError("exactly one quorum line with one name is expected")
            case _:
                raise PolicyError(f"{' '.join(words)[:60]!r} is no log, witness, group or quorum line")

    def _define(self, name: str) -> None:
        if name == "none" or name in self.witnesses or name in self.groups:
            raise PolicyError(f"the name {name!r} is taken; choose another")

    def _require_defined(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise PolicyError(f"{name!r} is not defined above this line")

    def _members(self, members: Iterable[str]) -> tuple[str, ...]:
        for name in members:
            self._require_defined(name)
            if name in self._grouped:
                raise PolicyError(f"{name!r} is already a member of a group; it can count only once")
            self._grouped.add(name)
        return tuple(members)


def _vkey(text: str, algorithm: int) -> Vkey:
    vkey = Vkey.parse(text)
    if vkey.algorithm != algorithm:
        raise PolicyError(f"the key {vkey.name!r} is of type {vkey.algorithm}, this line needs type {algorithm}")
    return vkey


def _threshold(text: str, members: int) -> int:
    number = {"any": 1, "all": members}.get(text)
    if number is None:
        number = int(text) if re.fullmatch("[1-9][0-9]{0,5}", text) else 0
    if not 1 <= number <= members:
        raise PolicyError(f"the threshold {text!r} must be any, all or a number from 1 to {members}")
    return number
