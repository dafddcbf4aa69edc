"""Tasks from a SuperNode or SuperLink: Flower's Runtime API, asked over one connection.

A SuperLink is known by its certificate, a SuperNode by where its Unix socket is: in a folder that no other user of the
machine can enter. A port of loopback would be anybody's once the SuperNode that had it is gone.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable

from clients.flower.flower_api import Connect, FlowerApi, FlowerRefused, FlowerUnreachable
from clients.flower.flower_api_pb2 import (
    AcquireTaskRequest,
    AcquireTaskResponse,
    PushTaskOutputRequest,
    PushTaskOutputResponse,
)
from clients.flower.forking import ExecutorUnreachable, Task

TIMEOUT_S = 10.0
"""Of one question."""
ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
"""What a question for a task is called in its signature."""

_ACQUIRE_AT, _OUTPUT_AT = "/v1/runtime/acquire-task", "/v1/runtime/push-task-output"
_COMPONENT, _FAILED = "SuperExec", "failed"
_SIGNING_CONTEXT = b"superexec-auth-v1"

log = logging.getLogger("artesian.executor")


class RuntimeSource:
    """A `clients.flower.forking.Source`.

    Args:
        connect: to whoever hands out the tasks.
        where: names it in errors.
        secret: with which it is shown that tasks may be taken; 32 bytes.
        task_type: of the tasks that are taken, in Flower's words.
    """

    def __init__(self, connect: Connect, where: str, secret: bytes, task_type: str) -> None:
        self._connect, self._where, self._secret = connect, where, secret
        self._question = AcquireTaskRequest(supported_task_types=[task_type]).SerializeToString(deterministic=True)
        self._api = FlowerApi(connect, _COMPONENT)

    def take(self) -> Task | None:
        """See `Source`."""
        signature = signature_headers(self._secret, ACQUIRE, self._question)
        try:
            answer = self._api.ask(_ACQUIRE_AT, self._question, AcquireTaskResponse, signature)
        except (FlowerRefused, FlowerUnreachable) as error:
            self.close()
            raise ExecutorUnreachable(f"{self._where} gives no tasks: {error}") from None
        if not (answer.HasField("task") and answer.token):
            return None
        return Task(answer.task.task_id, answer.task.run_id, answer.token, answer.task.fab_hash)

    def fail(self, token: str, why: str) -> None:
        """See `Source`."""
        said = PushTaskOutputRequest(sub_status=_FAILED, details=why).SerializeToString(deterministic=True)
        api = FlowerApi(self._connect, _COMPONENT, {"flwr-task-token": token})
        try:
            api.ask(_OUTPUT_AT, said, PushTaskOutputResponse)
        except (FlowerRefused, FlowerUnreachable) as error:  # it is over already, or its giver is
            log.debug("a task could not be failed: %s", error)
        finally:
            api.close()

    def close(self) -> None:
        self._api.close()


def signature_headers(
    secret: bytes,
    method: str,
    body: bytes,
    now: Callable[[], float] = time.time,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> dict[str, str]:
    """Headers that show that a question is from who holds the secret, and is of now (`flwr.supercore.auth.superexec`).

    Args:
        secret: 32 bytes.
        method: Flower's name of it, see `ACQUIRE`.
        now: seconds since 1970.
        random_bytes: a cryptographically secure source.
    """
    key = hmac.digest(secret, _SIGNING_CONTEXT, "sha256")
    at, nonce, digest = str(int(now())), random_bytes(16).hex(), hashlib.sha256(body).hexdigest()
    signed = f"method={method}\nts={at}\nnonce={nonce}\nbody_sha256={digest}".encode()
    return {
        "flwr-superexec-ts": at,
        "flwr-superexec-nonce": nonce,
        "flwr-superexec-body-sha256": digest,
        "flwr-superexec-signature": hmac.digest(key, signed, "sha256").hex(),
    }
