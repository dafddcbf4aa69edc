"""A process that has imported everything and forks children at a word, so that starting one takes milliseconds.

The tests' own process is no good for that: it has threads. What is asked of the nursery goes over a socket; each child
tells its story, line by line, over a pipe of its own, which a `kill -9` cuts wherever it is.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeAlias

Tell: TypeAlias = Callable[[str], None]
"""Writes one line to the test that started this child."""

_MESSAGE = 1 << 16


class Child:
    """A forked process, and what it tells.

    Attributes:
        pid: its process id.
    """

    def __init__(self, nursery: "Nursery", pid: int, told: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._told = os.fdopen(told, encoding="utf-8")
        self._over = False

    def line(self) -> str:
        """The next whole line; empty when there will be none."""
        line = self._told.readline()
        return line.removesuffix("\n") if line.endswith("\n") else ""

    def kill(self) -> list[str]:
        """`kill -9`; returns once it is gone, with the whole lines not read yet."""
        self._nursery.ask({"kill": self.pid})
        return self._rest()

    def wait(self) -> tuple[int, list[str]]:
        """Its exit code once it has ended by itself, and the lines not read yet."""
        return self._nursery.ask({"wait": self.pid}), self._rest()

    def _rest(self) -> list[str]:
        with self._told:
            return [line.removesuffix("\n") for line in self._told if line.endswith("\n")]


class Nursery:
    """Forks children that run functions of one module."""

    def __init__(self, module: str, *more: str) -> None:
        """`more`: modules that a child would import itself, as SQLAlchemy's of each database."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = f"import sys; sys.path[:] = {sys.path!r}; import fork_world; fork_world.serve({theirs.fileno()})"
        self._process = subprocess.Popen([sys.executable, "-c", program, module, *more], pass_fds=[theirs.fileno()])
        theirs.close()
        self._socket = ours
        if not ours.recv(_MESSAGE):
            raise RuntimeError(f"{module} cannot be imported")

    def start(self, function: str, **arguments: Any) -> Child:
        """Fork a child that runs `module.function(tell, **arguments)`; the arguments travel as JSON."""
        told, tell = os.pipe()
        try:
            socket.send_fds(self._socket, [json.dumps({"run": function, "with": arguments}).encode()], [tell])
        finally:
            os.close(tell)
        return Child(self, int(self._socket.recv(_MESSAGE)), told)

    def ask(self, question: dict[str, int]) -> int:
        """Let the nursery kill or wait for a child of its own; the exit code, negative after a signal."""
        self._socket.send(json.dumps(question).encode())
        return int(self._socket.recv(_MESSAGE))

    def close(self) -> None:
        """End the nursery. Its children end with it."""
        self._socket.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(number: int) -> None:
    """The nursery's own loop, on the socket with this number."""
    module, *_ = map(importlib.import_module, sys.argv[1:])
    children: set[int] = set()
    with socket.socket(fileno=number) as asked:
        asked.send(b"ready")
        for question, descriptors in _questions(asked):
            if "run" in question:
                pid = os.fork()
                if pid == 0:
                    asked.close()
                    _live(getattr(module, question["run"]), descriptors[0], question["with"])
                os.close(descriptors[0])
                children.add(pid)
                asked.send(str(pid).encode())
            else:
                pid = question.get("kill") or question["wait"]
                if "kill" in question:
                    os.kill(pid, signal.SIGKILL)
                asked.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
                children.discard(pid)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _questions(asked: socket.socket) -> Iterator[tuple[dict[str, Any], list[int]]]:
    while True:
        message, descriptors, _, _ = socket.recv_fds(asked, _MESSAGE, 1)
        if not message:
            return
        yield json.loads(message), descriptors


def _live(function: Callable[..., int | None], pipe: int, arguments: dict[str, Any]) -> None:
    def tell(line: str) -> None:
        text = f"{line}\n".encode()
        while text:
            text = text[os.write(pipe, text) :]

    code = 70
    try:
        code = function(tell, **arguments) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
