"""Answered questions go on a real ledger; the command line serves from a home and asks from another."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from score_world import MODEL, ORIGIN, World, query

from artesian import app
from clients.bank import AnswerFileError, AnswerVerifier, BankClient, ScoredAnswer, ServiceUnreachable
from ledger.checkpoint import SignedCheckpoint, cosign, witness_name
from ledger.genesis import Founder, genesis_statements, record
from ledger.keys import SigningKey
from ledger.log import Log
from ledger.statement import decode_statement, sign_statement
from server.scoring.desk import PublishedScorer
from server.scoring.on_ledger import QueryStatements, enrolled_in
from server.scoring.recording import GroupRecorder

ROUND = b"r" * 16
SECONDS = 1_700_000_000


@dataclass
class Ledger:
    """A log with firm-1 and bank-1, on which MODEL is published and final."""

    log: Log
    coordinator: SigningKey
    members: dict[str, SigningKey]

    @classmethod
    def start(cls, path: Path, coordinator: SigningKey) -> "Ledger":
        members = {name: SigningKey.generate() for name in ("firm-1", "bank-1")}
        founders = [Founder(name, name[:4], key.public, name) for name, key in members.items()]
        log = Log.create(path, ORIGIN, coordinator, lambda: SECONDS, cid="timber")
        log.append(genesis_statements("timber", coordinator, founders, min_cohort=1, ts=SECONDS, entropy=os.urandom))
        return cls(log, coordinator, members)

    def add(self, t: str, *, by: str = "coordinator", **fields: Any) -> bytes:
        key = self.members.get(by, self.coordinator)
        fields = {"record_id": os.urandom(16), **fields}
        raw = sign_statement(record(t, cid="timber", ts=SECONDS, **fields), issuer=by, subject="credit", key=key)
        self.log.append([raw])
        return raw

    def publish(self) -> PublishedScorer:
        self.add("task", task="credit", spec=bytes(32))
        plan: dict[str, Any] = {"plan": {}, "cohort": ["firm-1"], "parent_model": None}
        opened = decode_statement(self.add("round", record_id=ROUND, task="credit", **plan)).digest
        spend: dict[str, Any] = {"n_bucket": 1, "rdp": [], "clip": 1}
        raw = self.add("contribution", by="firm-1", parent=opened, round=ROUND, commit=bytes(32), **spend)
        inputs = [decode_statement(raw).digest]
        self.add("aggregate", round=ROUND, inputs=inputs, unmask=bytes(32), model=MODEL)
        statement = self.add("publish", round=ROUND, model=MODEL, manifest=bytes(32))
        body = SignedCheckpoint.parse(self.log.checkpoint()).body
        lines = [
            cosign(body, name=witness_name(ORIGIN, name), key=key, timestamp_s=SECONDS)
            for name, key in self.members.items()
        ]
        assert self.log.add_cosignatures(lines)
        from score_world import ToyScorer

        return PublishedScorer(ToyScorer(), MODEL, self.log.receipt(self.log.size - 1), statement)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_each_answer_is_a_query_on_the_ledger(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    ledger = Ledger.start(tmp_path / "ledger.db", world.coordinator)
    world.scorers["credit"] = ledger.publish()
    log, key = ledger.log, world.coordinator
    write = QueryStatements(log.append, cid="timber", issuer="coordinator", key=key, now_s=lambda: SECONDS)
    monkeypatch.setattr(World, "record", GroupRecorder(write))
    before = log.size
    desk = world.desk()
    object.__setattr__(desk, "is_enrolled", enrolled_in(lambda: log.state))
    verifier = AnswerVerifier(log.policy, key.public)
    with world.service(desk) as address, BankClient(world.home("bank-1"), address, verifier) as bank:
        asked = query()
        answers = [bank.score(asked), *bank.score_many([query() for _ in range(40)])]
        assert log.size == before + len(answers) == before + 41
        entry = decode_statement(log.entries(before, before + 1)[0])
        assert (entry.issuer, entry.subject, entry.payload["t"]) == ("coordinator", "bank-1", "query")
        assert entry.payload["subject"] == asked.subject_commitment
        ledger.add("revoke", model=MODEL, reason="found unfair")
        with pytest.raises(ServiceUnreachable, match="could not be put on record"):
            bank.score(asked)
    log.close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bank", *(str(a) for a in arguments)])


def test_a_bank_asks_and_verifies_on_the_command_line(world: World, tmp_path: Path) -> None:
    home, features, kept = world.home("bank-1"), tmp_path / "f.json", tmp_path / "answer.cbor"
    features.write_text('{"debt": 0.25, "home": null}')
    ask = ["score", "--home", home, "--features", features]
    with world.service() as address:
        done = run(*ask, "--address", address, "--json", "--out", kept)
        assert done.exit_code == 0, done.output
        document = json.loads(done.stdout)
        assert (document["score"], document["pd"], document["receipt_ok"]) == (550, 0.225, True)
        assert document["latency_ms"] > 0
        shown = run(*ask, "--address", address)
        assert "credit score 550" in shown.stdout
        for text, words in (
            ('{"shoe": 44}', "shoe"), ("{", "not JSON"), ("[]", "one object"), ('{"a":1,"a":2}', "twice"),
            ('{"debt": NaN}', "finite"),
        ):  # fmt: skip
            features.write_text(text)
            wrong = run(*ask, "--address", address)
            assert (wrong.exit_code, wrong.stdout, words in wrong.stderr) == (2, "", True), wrong.stderr
            assert wrong.stderr.count("\n") == 1
        features.write_text('{"debt": 0.25}')
        turned = run("score", "--home", world.home("bank-2"), "--features", features, "--address", address,
                     "--policy", home / "policy.txt")  # fmt: skip
        assert (turned.exit_code, "bank-2 is not an enrolled bank" in turned.stderr) == (1, True)
    gone = run(*ask, "--address", address, "--json")
    assert (gone.exit_code, json.loads(gone.stdout)["ok"]) == (3, False)

    checked = run("verify", kept, "--home", home, "--json")
    assert (checked.exit_code, json.loads(checked.stdout)["score"]) == (0, 550)
    raw = bytearray(kept.read_bytes())
    raw[len(raw) // 2] ^= 1
    kept.write_bytes(raw)
    changed = run("verify", kept, "--policy", home / "policy.txt")
    assert (changed.exit_code, changed.stderr.count("\n")) == (1, 1)
    assert run("verify", kept, "--home", tmp_path).exit_code == 2  # no policy there


def test_nothing_is_asked_for_an_answer_that_could_not_be_kept(world: World, tmp_path: Path, monkeypatch: Any) -> None:
    home, features, kept = world.home("bank-1"), tmp_path / "f.json", tmp_path / "answer.cbor"
    features.write_text('{"debt": 0.25}')
    kept.write_bytes(b"an older proof")
    with world.service() as address:
        ask = ["score", "--home", home, "--features", features, "--address", address]
        for out, words in ((kept, "never overwritten"), (tmp_path / "nowhere" / "a.cbor", "No such file")):
            refused = run(*ask, "--out", out)
            assert (refused.exit_code, refused.stdout, words in refused.stderr) == (2, "", True), refused.stderr
            assert refused.stderr.count("\n") == 1
        assert (world.records, kept.read_bytes()) == ([], b"an older proof")

        def full(*_: object) -> None:
            raise AnswerFileError("the disk is full")

        monkeypatch.setattr(ScoredAnswer, "save", full)
        shown = run(*ask, "--out", tmp_path / "new.cbor")
        assert (shown.exit_code, "credit score 550" in shown.stdout, shown.stderr) == (2, True, "the disk is full\n")
        as_json = run(*ask, "--out", tmp_path / "new.cbor", "--json")
        document = json.loads(as_json.stdout)
        assert (as_json.exit_code, document["ok"], document["score"]) == (2, False, 550)
        assert document["problem"] == "the disk is full"
        assert len(bytes.fromhex(document["subject_salt"])) == 32
        assert len(world.records) == 2


def test_wrong_options_are_one_line(world: World, tmp_path: Path) -> None:
    features = tmp_path / "f.json"
    features.write_text('{"debt": 0.25}')
    ask = ["score", "--home", world.home("bank-1"), "--features", features]
    for address, timeout_s in (
        ("localhost", 1), ("localhost:0", 1), ("localhost:65536", 1), ("localhost:1", 0), ("localhost:1", "nan"),
    ):  # fmt: skip
        wrong = run(*ask, "--address", address, "--timeout-s", timeout_s)
        assert (wrong.exit_code, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1), wrong.stderr


PROGRAM = """
import sys, types
from pathlib import Path
sys.path.insert(0, {tests!r})
from score_world import ToyScorer
from server.scoring.desk import PublishedScorer
releases = types.ModuleType("server.releases")
releases.CURRENT = "current"
def load_scorers(home):
    receipt, statement = (home / "receipt").read_bytes(), (home / "statement").read_bytes()
    return {{"credit": PublishedScorer(ToyScorer(), bytes(range(32)), receipt, statement)}}
releases.load_scorers = load_scorers
sys.modules["server.releases"] = releases
from artesian import app
app.main(["coordinator", *sys.argv[1:]])
"""


@pytest.mark.integration
def test_the_coordinator_serves_until_it_is_told_to_stop(world: World, tmp_path: Path) -> None:
    home = world.home("coordinator")
    world.coordinator.save(home / "signing.pem")
    (home / "coordinator.toml").write_text('cid = "acme"\n')
    ledger = Ledger.start(home / "ledger.db", world.coordinator)
    published = ledger.publish()
    (home / "receipt").write_bytes(published.receipt)
    (home / "statement").write_bytes(published.publish_statement)
    verifier, before = AnswerVerifier(ledger.log.policy, world.coordinator.public), ledger.log.size
    ledger.log.close()
    program = PROGRAM.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", program, "scores", "--home", str(home), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "answering on 127.0.0.1:" in line, line
        address = line.split()[2]
        with BankClient(world.home("bank-1"), address, verifier) as bank:
            assert bank.score(query()).answer.score == 550
            second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert (second.returncode, second.stderr.count("\n")) == (2, 1), second.stderr
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            with pytest.raises(ServiceUnreachable):
                bank.score(query())
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
    with Log.open(home / "ledger.db", world.coordinator, time.time) as log:
        assert log.size == before + 1
