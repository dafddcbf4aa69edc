"""A consortium from empty folders, by commands in processes of their own: founded, joined, grown, and one shut out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pytest

from ledger.errors import LedgerError
from ledger.keys import SigningKey
from ledger.service.access import NotAllowed
from ledger.service.client import LedgerClient
from ledger.service.tls import ClientTls
from ledger.service.tokens import Identity
from server.engines.loopback import free_ports

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "experiments/configs/tasks/loans.toml"
PATIENCE_S = 120.0


class Machine:
    """Homes under one folder, commands, and services that run until the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.services: list[subprocess.Popen[str]] = []

    def run(self, *words: object, code: int = 0) -> Any:
        """What a command says with --json; it must end with this exit code."""
        command = [sys.executable, "-m", "artesian", *map(str, words), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT, check=False)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def together(self, *commands: tuple[object, ...]) -> list[Any]:
        """The same of several at once."""
        started = [
            subprocess.Popen(
                [sys.executable, "-m", "artesian", *map(str, words), "--json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for words in commands
        ]
        answers = [one.communicate(timeout=PATIENCE_S) for one in started]
        assert [one.returncode for one in started] == [0] * len(started), answers
        return [json.loads(out) for out, _ in answers]

    def serve(self, port: int, *words: object) -> subprocess.Popen[str]:
        """Start a service, and wait until it listens."""
        command = [sys.executable, "-m", "artesian", *map(str, words)]
        process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.services.append(process)
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        channel.close()
        end_s = time.monotonic() + PATIENCE_S
        while not listens(port):
            assert process.poll() is None, words
            assert time.monotonic() < end_s, words
            time.sleep(0.1)
        return process

    def end(self) -> None:
        for process in self.services:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.services:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def listens(port: int) -> bool:
    import socket

    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.end()


def test_a_consortium_is_founded_joined_grown_and_rid_of_one(machine: Machine) -> None:
    root, home = machine.root, machine.root / "coordinator"
    enrolment, ledger, *others = free_ports(7)
    names = ("fleet", "scores", "superlink", "metrics", "dashboard")
    ports = [word for name, port in zip(names, others, strict=True) for word in (f"--{name}-port", port)]
    founders = ("firm-1", "firm-2", "firm-3", "bank-1")
    made = machine.run(
        *("coordinator", "init", "--home", home, "--cid", "acme", "--task", SPEC),
        *(word for name in founders for word in (f"--{name[:4]}", name)),
        *("--enrolment-port", enrolment, "--ledger-port", ledger, *ports),
    )
    assert {one["member"] for one in made["invites"]} == set(founders)
    machine.run("coordinator", "init", "--home", home, "--cid", "acme", code=2)
    machine.serve(enrolment, "coordinator", "enrolment", "--home", home)

    def join(name: str, *words: object) -> tuple[object, ...]:
        invite = home / "invites" / f"{name}.txt"
        return (name[:4], "join", invite, "--home", root / name, "--fingerprint", made["authority"], *words)

    machine.run(*join("firm-1")[:5], "--fingerprint", "00" * 32, code=1)
    machine.run(*join("firm-1")[:5], code=2)  # nobody is there to confirm
    asked = machine.together(*(join(name, "--wait-s", 0) for name in founders))
    assert {one["phase"] for one in asked} == {"asked"}
    admitted = machine.run("coordinator", "admit", "--all", "--home", home)
    assert admitted["founded"]
    assert {one["key"] for one in admitted["requests"]} == {one["key"] for one in asked}
    joined = machine.together(*((name[:4], "join", "--home", root / name, "--wait-s", 60) for name in founders))
    assert {one["founding"] for one in joined} == {admitted["founding"]}

    machine.serve(ledger, "ledger", "serve", "--home", home, "--address", f"127.0.0.1:{ledger}")
    for name in founders:
        assert known_members(root / name, name, ledger) == set(founders)
    with pytest.raises(LedgerError):  # who has the CA certificate and no key of a member gets no connection
        LedgerClient(f"127.0.0.1:{ledger}", tls=ClientTls.from_files(home / "ca.crt"), timeout_s=3).checkpoint()

    told = machine.run("firm", "status", "--home", root / "firm-1")["coordinator"]
    assert (told["release"], [one["phase"] for one in told["tasks"]]) == (version("artesian"), ["idle"])
    bank = machine.run("bank", "status", "--home", root / "bank-1")
    assert {one["service"]: one["level"] for one in bank["reached"]} == {
        "enrolment": "ok",
        "ledger": "ok",
        "scores": "unreachable",  # nobody serves them here
    }

    def approve(proposal: str, *members: str) -> None:
        commands = ((one[:4], "approve", proposal, "--yes", "--home", root / one) for one in members)
        assert any(one["placed"] for one in machine.together(*commands))

    machine.run("coordinator", "invite", "firm-9", "--home", home)
    machine.run(*join("firm-9", "--wait-s", 0))
    machine.run("coordinator", "admit", "firm-9", "--home", home)
    found = machine.run("bank", "proposals", "--home", root / "bank-1")["proposals"]
    assert [(one["name"], one["needed"], one["approved"]) for one in found] == [("enrol-firm-9", 3, [])]
    mistyped = [sys.executable, "-m", "artesian", "bank", "approve", "enrol-nobody", "--home", str(root / "bank-1")]
    refused = subprocess.run(mistyped, capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT, check=False)
    assert (refused.returncode, "(known: enrol-firm-9)" in refused.stderr) == (2, True), refused.stderr
    approve("enrol-firm-9", "firm-1", "firm-2", "bank-1")
    late = machine.run("firm", "join", "--home", root / "firm-9", "--wait-s", 60)
    assert late["founding"] == admitted["founding"]
    assert known_members(root / "firm-9", "firm-9", ledger) == {*founders, "firm-9"}

    machine.run("coordinator", "suspend", "firm-2", "--reason", "left", "--home", home)
    approve("suspend-firm-2", "firm-1", "firm-3", "firm-9", "bank-1")
    with pytest.raises(NotAllowed):
        known_members(root / "firm-2", "firm-2", ledger)
    machine.run("firm", "renew", "--new-key", "--home", root / "firm-2", code=1)
    with pytest.raises(NotAllowed, match="revoked"):  # also in the name of one who is still a member
        known_members(root / "firm-2", "firm-1", ledger, key=root / "firm-1" / "signing.pem")

    machine.run("coordinator", "revoke-certificate", "firm-3", "--home", home)
    with pytest.raises(NotAllowed, match="revoked"):
        known_members(root / "firm-3", "firm-3", ledger)
    assert machine.run("firm", "renew", "--new-key", "--home", root / "firm-3")["renewed"]
    assert "firm-9" in known_members(root / "firm-3", "firm-3", ledger)
    assert os.stat(home / "invites").st_mode & 0o077 == 0


def known_members(home: Path, member: str, port: int, key: Path | None = None) -> set[str]:
    """Whom the ledger's service names to this member, over mutual TLS with the home's certificate."""
    tls = ClientTls.from_files(home / "ca.crt", home / "tls.key", home / "tls.crt")
    signing = SigningKey.load(key or home / "signing.pem")
    identity = Identity(member, signing, "artesian/acme")
    with LedgerClient(f"localhost:{port}", tls=tls, identity=identity, timeout_s=20) as client:
        return {one.member for one in client.members() if one.active}
