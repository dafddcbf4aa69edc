"""The sequencer is killed for good: the members go on elsewhere, with nothing but commands and folders."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, run

pytestmark = pytest.mark.integration

PATIENCE_S = 60
PRESENT = ("firm-1", "firm-2", "bank-1")  # a quorum of four; firm-3 is away and has seen more


class Process:
    """A command of ours in a process of its own."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "artesian", "ledger", *map(str, arguments)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self._lines.extend(self._process.stderr or ()), daemon=True)
        self._reader.start()

    def wait_for(self, words: str) -> str:
        """The first line with these words."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            found = [line for line in self._lines if words in line]
            if found:
                return found[0]
            assert self._process.poll() is None, self._lines
            time.sleep(0.02)
        raise AssertionError(self._lines)

    def end(self, number: int = signal.SIGKILL) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait()
        self._reader.join()
        if self._process.stderr is not None:
            self._process.stderr.close()


class Consortium(Homes):
    """Homes of four members and a coordinator, and what runs in them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.running: list[Process] = []
        self.attested = 0

    def start(self, *arguments: object) -> Process:
        self.running.append(Process(*arguments))
        return self.running[-1]

    def serve(self, home: Path) -> tuple[Process, str]:
        process = self.start("serve", "--home", home, "--address", "127.0.0.1:0")
        return process, process.wait_for("serving").split()[-1]

    def witness(self, name: str, address: str) -> Process:
        known = (self[name] / "ledger.toml").exists()
        more = [] if known else ["--founding", self.founding]
        process = self.start("witness", "--home", self[name], "--address", address, *more)
        process.wait_for("witnesses")
        return process

    def attest(self, address: str, wait_s: float) -> tuple[Path, bool]:
        """Put something new on the ledger; its file, and whether it is final."""
        self.attested += 1
        file = self.folder / f"lading {self.attested}.txt"
        file.write_text(f"crate {self.attested}")
        subject = ["--subject", f"batch {self.attested}", "--file", file, "--wait", wait_s]
        _, out, _ = run("attest", "--home", self["firm-1"], "--address", address, *subject, "--json")
        return file, '"final": true' in out

    def wait_for_policy(self, name: str, before: str) -> None:
        """Until a member's witness has renewed its policy file: the handover is final."""
        end_s = time.monotonic() + PATIENCE_S
        while (self[name] / "policy.txt").read_text() == before:
            assert time.monotonic() < end_s
            time.sleep(0.05)

    def size(self, name: str) -> tuple[int, int]:
        status = facts("handover", "status", "--home", self[name])
        return status["size"], status["final_size"]

    def bring_each_other_up(self, names: tuple[str, ...]) -> None:
        copies = {name: self.folder / f"copy of {name}" for name in names}
        for _ in range(2):
            for name in names:
                done("export", copies[name], "--home", self[name])
            for name in names:
                others = [copies[other] for other in names if other != name]
                done("handover", "bring-up", *others, "--home", self[name])


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    made = Consortium.found(tmp_path)
    yield made
    for process in made.running:
        process.end()


def receipt_of(file: Path) -> list[object]:
    return [f"{file}.receipt", "--statement", f"{file}.statement"]


def test_a_killed_sequencer_is_replaced_and_cannot_come_back(consortium: Consortium, tmp_path: Path) -> None:
    server, address = consortium.serve(consortium.coordinator)
    witnesses = {name: consortium.witness(name, address) for name in MEMBERS}
    old, final = consortium.attest(address, PATIENCE_S)
    assert final
    old_policy = tmp_path / "old policy.txt"
    old_policy.write_text((consortium.coordinator / "policy.txt").read_text())

    # Only firm-3 sees what comes next; then the sequencer is killed while it takes more.
    for name in PRESENT:
        witnesses[name].end(signal.SIGTERM)
    assert not consortium.attest(address, 0)[1]
    witnesses["firm-3"].wait_for("cosigned 7 entries")
    busy = threading.Thread(target=consortium.attest, args=(address, 5))
    busy.start()
    time.sleep(0.2)
    server.end(signal.SIGKILL)
    busy.join()
    witnesses["firm-3"].end(signal.SIGKILL)
    assert consortium.size("firm-3")[0] >= 7

    # A quorum brings each other up, and hands the log over.
    consortium.bring_each_other_up(PRESENT)
    assert [consortium.size(name) for name in PRESENT] == [(6, 6)] * 3
    proposal, home = tmp_path / "handover.proposal", tmp_path / "new sequencer"
    done("handover", "propose", "--home", consortium["firm-2"], "--to", home, "--out", proposal)
    for name in PRESENT:
        done("handover", "approve", proposal, "--home", consortium[name], "--yes")
    done("handover", "start", proposal, "--home", consortium["firm-2"], "--to", home)

    # Another process continues; what is new becomes final, and firm-3 lets its tail go.
    _, new_address = consortium.serve(home)
    for name in PRESENT:
        witnesses[name] = consortium.witness(name, new_address)
    consortium.wait_for_policy("firm-1", old_policy.read_text())
    new, final = consortium.attest(new_address, PATIENCE_S)
    assert final
    assert facts("witness", "--home", consortium["firm-3"], "--address", new_address, "--once")["size"] == 8
    assert consortium.size("firm-3") == (8, 8)
    new_policy = home / "policy.txt"  # the service has renewed it by itself
    assert facts("verify", *receipt_of(new), "--policy", new_policy)["ok"]
    assert facts("verify", *receipt_of(old), "--policy", old_policy)["ok"]
    for kept in (home, consortium["firm-1"]):
        assert [file.name for file in sorted((kept / "policies").iterdir())] == ["5.txt", "7.txt"]
        for receipt, name in ((old, "5.txt"), (new, "7.txt")):
            held = facts("verify", *receipt_of(receipt), "--policy", kept / "policies")
            assert held["policy"] == str(kept / "policies" / name)

    # The old sequencer comes back: it finds no quorum, and can see why.
    _, old_address = consortium.serve(consortium.coordinator)
    late, final = consortium.attest(old_address, 2)
    assert not final
    assert not Path(f"{late}.receipt").exists()
    for name in PRESENT:
        witnesses[name].end(signal.SIGTERM)
    for name in MEMBERS:
        code, _, err = run("witness", "--home", consortium[name], "--address", old_address, "--once")
        assert (code, err.count("\n")) == (1, 1)
        assert consortium.size(name)[0] == 8
    consortium.running[-1].end()
    done("witness", "--home", consortium["firm-1"], "--address", new_address, "--once")
    copy = tmp_path / "new copy"
    done("export", copy, "--home", consortium["firm-1"])
    status = facts("handover", "status", copy, "--home", consortium.coordinator, code=1)
    assert status["replaced_by"] is not None
    assert facts("audit", "--home", home)["ok"]

    # With a copy it does not serve at all; its home becomes a mirror, which shows the same and follows the new log.
    serving = [sys.executable, "-m", "artesian", "ledger", "serve", "--home", consortium.coordinator]
    for more in (["--copy", copy], []):
        refusal = subprocess.run([*serving, *more], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert (refusal.returncode, refusal.stdout, refusal.stderr.count("\n")) == (1, "", 1)
        assert "goes on elsewhere since entry 6" in refusal.stderr
        done("mirror", copy, "--home", consortium.coordinator)
    (consortium.coordinator / "ledger.db").rename(consortium.coordinator / "replaced.db")
    assert facts("mirror", new_address, "--home", consortium.coordinator)["size"] == 8
