"""The ClientApp as Flower calls it: messages in, answers or refusals out, and no secret in any of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from consortium_world import CID, Consortium, a_plan
from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from clients import introduction
from clients.app import app
from clients.firm import close_firms, open_firm
from clients.greeting import check_proof, question
from clients.messages import HELLO, OPEN, PAIR, REPLIES, TRAIN, WITNESS, Refusal, pack, unpack
from clients.refusal_log import RefusalLog
from ledger.keys import BadSignature, PublicKey
from server.engine import run_in_process


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    made = Consortium(tmp_path_factory.mktemp("app") / "home", firms=5)
    for firm in made.firms.values():
        firm.close()
    yield made
    close_firms()
    made.log.close()


def send(home: Path | None, kind: str, content: RecordDict) -> RecordDict:
    """Send one message to the ClientApp at a node; returns its reply's content."""
    out: list[Message] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        (node,) = grid.get_node_ids()
        out.extend(grid.send_and_receive([Message(content, node, kind)]))

    run_in_process(server_app, app, [{} if home is None else {"home": str(home)}], {}, 0)
    (reply,) = out
    assert not reply.has_error()
    return reply.content


def ask(home: Path, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return unpack(send(home, kind, pack(fields)), REPLIES[kind], kind)


def refused(home: Path | None, kind: str, content: RecordDict) -> Refusal:
    with pytest.raises(Refusal) as caught:
        unpack(send(home, kind, content), REPLIES[kind], kind)
    return caught.value


GREETING = question(CID, "credit", 0, bytes(32))


def test_a_firm_says_who_it_is(world: Consortium) -> None:
    answer = ask(world.built.member("firm-1"), HELLO, GREETING)
    assert (answer["member"], answer["units"], answer["announcement"]) == ("firm-1", 40, b"")
    key = PublicKey(answer["signing_key"])
    check_proof(GREETING, answer, key)
    changed = ({"units": 41}, {"member": "firm-2"}, {"proof": answer["proof"][1:]}, {"proof": b""})
    for other, said in [(GREETING, {**answer, **one}) for one in changed] + [
        ({**GREETING, **one}, answer) for one in ({"nonce": b"n" * 32}, {"task": ""}, {"epoch": 1}, {"cid": "c"})
    ]:
        with pytest.raises(BadSignature):
            check_proof(other, said, key)
    assert refused(world.built.member("firm-1"), HELLO, pack({**GREETING, "nonce": b"short"})).code == "nonce"


@pytest.mark.parametrize(
    ("error", "noted"),
    [
        (np._core._exceptions._ArrayMemoryError((9007,), np.dtype("f8")), "may take no more memory"),  # type: ignore[attr-defined]
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9007 bytes"),
            "no more memory",
        ),
        (RuntimeError("row 9007 is odd"), "row 9007 is odd"),
    ],
)
def test_only_a_firms_own_operator_learns_that_it_had_no_memory(
    world: Consortium, error: Exception, noted: str
) -> None:
    """A table that is larger by a row may have caused it, so the refusal is that of any other trouble."""
    home = world.built.member("firm-1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clients.introduction.require_taking_part", Mock(side_effect=error))
        said = refused(home, HELLO, pack(GREETING))
    assert (said.code, "9007" in str(said), "memory" in str(said)) == ("Unready", False, False)
    (kept,) = RefusalLog(home).latest(1)
    assert (kept.code, noted in kept.detail) == ("Unready", True)


def test_a_firm_witnesses_and_contributes(world: Consortium) -> None:
    home = world.built.member("firm-1")
    firm = open_firm(home)
    answer = ask(home, WITNESS, world.news(firm))
    assert answer["mirrored"] == world.log.size
    assert answer["cosignature"]
    for name in world.names[1:]:
        world.firms[name] = open_firm(world.built.member(name))
    world.firms["firm-1"] = firm
    statement = world.open_round(a_plan(threshold=4))
    private = firm.task("credit")
    answer = ask(home, TRAIN, world.request("firm-1", statement))
    assert answer["contribution"]
    assert answer["statement"]
    spent = firm.wallet.spent(private.unit, private.dataset)
    assert ask(home, TRAIN, world.request("firm-1", statement)) == answer
    assert firm.wallet.spent(private.unit, private.dataset) == spent


@pytest.mark.parametrize("kind", [HELLO, PAIR, WITNESS, TRAIN, OPEN])
def test_malformed_messages_are_refused(world: Consortium, kind: str) -> None:
    home = world.built.member("firm-1")
    for content in (RecordDict(), pack({}), pack({"surprise": 1})):
        assert refused(home, kind, content).code == "MalformedMessage"


def test_a_refusal_says_why(world: Consortium) -> None:
    said = refused(world.built.member("firm-1"), HELLO, pack({**GREETING, "cid": "other"}))
    assert said.code == "consortium"
    assert "belongs to 'test'" in said.detail


def test_a_node_without_a_home_is_refused() -> None:
    assert refused(None, HELLO, pack(GREETING)).code == "Unready"


def test_a_home_that_is_none_names_no_path(tmp_path: Path) -> None:
    said = refused(tmp_path / "secret-folder", HELLO, pack(GREETING))
    assert said.code == "Unready"
    assert "secret-folder" not in str(said)


@pytest.mark.parametrize("kind", [RuntimeError, KeyError, ValueError, OSError])
def test_an_unforeseen_error_keeps_its_text_at_home(
    world: Consortium, kind: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise kind("customer 4711 earns 54321")

    monkeypatch.setattr(introduction, "hello", fail)
    home = world.built.member("firm-2")
    with caplog.at_level(logging.CRITICAL, logger="artesian.firm"):
        content = send(home, HELLO, pack(GREETING))
    assert b"4711" not in repr(content).encode()
    assert refused(home, HELLO, pack(GREETING)).code == "Unready"


def test_a_cell_of_the_table_stays_at_home(world: Consortium) -> None:
    """A table that went wrong after joining: the coordinator learns that it is wrong, and no cell of it."""
    home = world.built.member("firm-3")
    close_firms()
    path = home / "data" / "credit.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines, lines[-1].replace(lines[-1].split(",")[3], "54321")]) + "\n", encoding="utf-8")
    content = send(home, HELLO, pack(GREETING))
    assert "54321" not in repr(content)
    said = refused(home, HELLO, pack(GREETING))
    assert said.code == "Unready"
    assert "credit.csv" not in said.detail


@pytest.mark.parametrize(("kind", "fields"), [(HELLO, GREETING), (OPEN, None)])
def test_old_masking_secrets_are_destroyed_before_any_message_is_handled(
    world: Consortium, kind: str, fields: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = world.built.member("firm-4")
    open_firm(home).round_secrets.begin(7 if fields else 8, open_firm(home).key.public.kid)
    monkeypatch.setattr(open_firm(home), "now", lambda: time.time() + 30.5 * 86_400)
    send(home, kind, pack(fields or {"round": bytes(16), "headers": {}, "commits": {}, "inbound": {}, "final": ""}))
    assert [path.name for path in (home / "masking").iterdir()] == ["ended"]
