"""The join desk as a process: it answers, and between calls it does what time and the ledger ask for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from clients.errors import ClientError
from ledger.errors import LedgerError
from server.engines.flower_home import FlowerHome
from server.enrolment.admission import Admission
from server.enrolment.book import EnrolmentBook
from server.enrolment.ledger_access import LedgerAccess
from server.enrolment.registrations import Comparing
from server.enrolment.service import serving_desk
from server.errors import ServerError
from server.network import load_network
from server.service_certificate import renew_service_certificate

TEND_S = 5.0
CERTIFICATE_S = 3600.0
REGISTER_S = 60.0
"""Longest that one telling of SuperLink may take."""


async def run_desk(home: Path, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        CannotServe: the address is taken, or the home lacks something.
    """
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    network = load_network(home)
    renew_service_certificate(home, time.time())
    async with serving_desk(home, network.bind, network.enrolment_port, time.time) as server:
        say(f"the join desk of {home} answers on {network.bind}:{server.port}")
        with EnrolmentBook(home) as book:
            tending = Tending(home, Admission(home, book, LedgerAccess(home), time.time), say)
            comparing = Comparing(FlowerHome(home, network).database)
            while not told.is_set():
                await server.tend(tending.once)
                listens = _listens(network.superlink_port)
                if comparing.due(book, listens=listens, now_s=time.monotonic()) and await _register(home, say):
                    comparing.done(time.monotonic())
                try:
                    await asyncio.wait_for(told.wait(), TEND_S)
                except TimeoutError:
                    continue


class Tending:
    """What is done between calls; an error is said once, and tried again."""

    def __init__(
        self,
        home: Path,
        admission: Admission,
        say: Callable[[str], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._admission, self._say, self._now = home, admission, say, now
        self._looked_s, self._trouble = 0.0, dict[str, str]()

    def once(self) -> None:
        """Settle what the ledger has changed; see to the coordinator's own certificate and the revocation list.

        Each by itself: what keeps one from being done keeps no other.
        """
        self._try("proposals", self._admission.proposing.place)
        self._try("policy", self._admission.take_policy)
        self._try("members", self._admission.follow)
        self._try("revocations", self._admission.issuing.publish)
        self._try("certificate", self._renew)

    def _try(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except (ClientError, ServerError, LedgerError, OSError) as error:
            if str(error) != self._trouble.get(what):
                self._trouble[what] = str(error)
                self._say(f"{error}; trying again")
        else:
            self._trouble.pop(what, None)

    def _renew(self) -> None:
        if self._now() < self._looked_s + CERTIFICATE_S:
            return
        self._looked_s = self._now()
        renewed = renew_service_certificate(self._home, self._now())
        if renewed is not None:
            self._say(f"the coordinator's certificate was renewed: serial {renewed.serial:x}")


async def _register(home: Path, say: Callable[[str], None]) -> bool:
    """Have a process of its own tell SuperLink: what speaks Flower's language is large, and rarely needed.

    Says whether SuperLink answered; what it refused, that process says on stderr, and the book keeps.
    """
    command = [sys.executable, "-m", "artesian", "coordinator", "register-nodes", "--home", str(home)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        if await asyncio.wait_for(process.wait(), REGISTER_S) == 0:
            return True
        say("SuperLink was not told of all members' nodes; trying again")
    except TimeoutError:
        process.kill()
        await process.wait()
        say(f"SuperLink did not answer within {REGISTER_S:.0f} s; trying again")
    return False


def _listens(port: int) -> bool:
    """Whether something accepts connections at a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False
