"""One message to each of some nodes, in the version that each speaks; the replies read, and what is none said."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from clients.dialect import Dialect
from clients.errors import ClientError
from clients.messages import LOWEST, Refusal
from clients.tracing import question as ask_span
from clients.versions import VersionMismatch
from server.asking_again import Question, Waiting
from server.envelopes import messages, read_reply
from server.round_journal import RoundJournal
from server.words import unknown_node


@dataclass(frozen=True)
class Asked:
    """A node that has said who it is.

    Attributes:
        version: of the messages that it speaks.
        traces: whether it reads ids of traces beside them.
    """

    member: str
    version: int
    traces: bool


@dataclass(frozen=True)
class NoAnswer:
    """What there is in place of an answer.

    Attributes:
        why, code: for people and for programs.
        said: a refusal, or what is wrong with the reply; None where no reply came.
    """

    why: str
    code: str
    said: ClientError | None = None


class Inquiry:
    """Asks nodes, with patience and within a deadline.

    Args:
        spoken: the versions of the messages that the coordinator speaks.
        timeout_s: how long each question waits.
        journal: is told for whom there is a wait.
    """

    def __init__(self, grid: Grid, spoken: Dialect, timeout_s: int, journal: RoundJournal, waiting: Waiting) -> None:
        self._grid, self._spoken, self._timeout_s = grid, spoken, timeout_s
        self._journal, self._waiting = journal, waiting

    def ask(
        self, kind: str, requests: Mapping[int, Mapping[str, Any]], number: int, known: Mapping[int, Asked]
    ) -> Iterator[tuple[int, dict[str, Any] | NoAnswer]]:
        """Ask each node, and yield for each what came, as it comes; to be taken to its end.

        Args:
            requests: what each node is asked.
            number: of the round; 0 at the beginning of a run.
            known: the nodes that have said who they are; others are spoken to in the lowest version.
        """
        firms = {node: known.get(node) or Asked(unknown_node(node), LOWEST, False) for node in requests}
        asked = dict[int, str]()
        for node, firm in firms.items():
            old = self._too_old(kind, requests[node], firm)
            if old is None:
                asked[node] = firm.member
            else:
                yield node, old
        versions = {node: firm.version for node, firm in firms.items()}
        reads_traces = [node for node, firm in known.items() if firm.traces]

        def sent(nodes: Collection[int], life_s: float) -> Iterator[Message]:
            to = {node: requests[node] for node in nodes}
            return messages(self._spoken, kind, to, versions, number, life_s, dict.fromkeys(reads_traces, trace))

        with ask_span(f"ask {kind}", round=number) as trace:
            question = Question(self._grid, kind, asked, float(self._timeout_s), self._journal, self._waiting)
            began = time.strftime("%H:%M:%S", time.gmtime())
            for reply in question.ask(sent):
                node = reply.metadata.src_node_id
                yield node, self._read(kind, reply, firms[node])
            for node in question.silent:
                yield node, NoAnswer(f"no answer within {self._timeout_s} s; asked at {began} UTC", code="NoAnswer")

    def _read(self, kind: str, reply: Message, firm: Asked) -> dict[str, Any] | NoAnswer:
        if reply.has_error():
            return NoAnswer(f"its client failed (Flower error {reply.error.code})", code="ClientFailed")
        try:
            return read_reply(self._spoken, kind, reply.content, firm.version, f"{kind} reply of {firm.member}")
        except ClientError as error:
            code = error.code if isinstance(error, Refusal) else type(error).__name__
            return NoAnswer(str(error), code=code, said=error)

    def _too_old(self, kind: str, request: Mapping[str, Any], firm: Asked) -> NoAnswer | None:
        """That a firm's program cannot be told this, so that it is not asked."""
        try:
            self._spoken.lowered("request", kind, request, firm.version)
        except VersionMismatch as error:
            return NoAnswer(f"VersionMismatch: {error}: upgrade {firm.member}", code="VersionMismatch")
        return None
