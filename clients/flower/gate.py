"""What a task's process runs at a firm: the firm's own installed app, and only for a bundle that the firm approved.

Flower's `run_clientapp` unpacks the bundle that the server sent and imports the app in it. Here it is given another
installer, which reads the bundle and installs nothing, and another loader, which hands it the app that the executor
imported from this machine's own packages. A bundle that is not approved is answered with a refusal, message by message.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from flwr.app import Context, Message

from clients.errors import ClientError
from clients.flower.approvals import AppNotApproved, Approvals
from clients.flower.bundle import listed_files
from clients.refusal_log import RefusalLog, RefusalsUnreadable

App = Callable[[Message, Context], Message]
Refuse = Callable[[Message, Exception], Message]

_EXPIRED = 75  # EX_TEMPFAIL of sysexits.h

log = logging.getLogger("artesian.firm")


class Gate:
    """Between Flower's process of one task and the firm's app.

    Args:
        home: the firm's; no run, bundle or message can name another.
        app: the firm's own.
        refuse: makes the reply that says no.
    """

    def __init__(self, home: Path, app: App, refuse: Refuse, approvals: Approvals) -> None:
        self._home, self._app, self._refuse, self._approvals = home, app, refuse, approvals
        self._no: Exception | None = AppNotApproved("the run came without an app bundle")

    def examine(self, content: bytes) -> None:
        """Look at the bundle of a run; nothing in it is written to disk or imported.

        Raises nothing, whatever is wrong here: Flower would send its text to the server.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            self._approvals.require(sha256)
        except Exception as error:
            self._no = error
        else:
            self._no = None
        if isinstance(self._no, AppNotApproved):
            try:
                self._approvals.note(sha256, listed_files(content))
            except Exception:
                log.exception("app bundle %s was refused, and could not be noted for `artesian firm apps`", sha256[:16])

    def __call__(self, message: Message, context: Context) -> Message:
        """The firm's answer. Nothing that is raised gets past: Flower would send its text to the server."""
        _end_with(message)
        try:
            if self._no is not None:
                self._note(message, self._no)
                return self._refuse(message, self._no)
            context.node_config = {"home": str(self._home)}
            context.run_config = {}
            return self._app(message, context)
        except Exception as error:
            log.exception("%s failed", message.metadata.message_type)
            return self._refuse(message, error)
        except SystemExit as error:
            log.exception("%s ended its process", message.metadata.message_type)
            return self._refuse(message, ClientError(str(error)))

    def _note(self, message: Message, error: Exception) -> None:
        log.warning("%s refused: %s", message.metadata.message_type, error)
        with suppress(RefusalsUnreadable, OSError):
            RefusalLog(self._home).note(message.metadata.message_type, b"", type(error).__name__, str(error))


def _end_with(message: Message) -> None:
    """End this process when nobody waits for the answer any more."""
    left_s = message.metadata.created_at + message.metadata.ttl - time.time()
    timer = threading.Timer(max(0.0, left_s), os._exit, (_EXPIRED,))
    timer.daemon = True
    timer.start()
