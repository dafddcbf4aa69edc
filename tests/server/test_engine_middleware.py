"""SuperLink answers as Flower made it, with the middleware that had nothing to do left out of the way."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.main import create_app
from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware

from server.engines import EngineError
from server.engines.lighter_middleware import lighten_middleware

PATHS = sorted({path for _, path in PROTOBUF_REQUEST_TYPES} | {"/health", "/v1/fleet/nothing", "/nowhere", "/docs"})
BODIES = {"empty": b"", "a node": PullMessagesRequest(node=Node(node_id=7)).SerializeToString(), "none": b"\xff" * 9}


async def said(app: Any, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any, bytes]:
    """Status, headers and body of the answer, without the time of day."""
    parts, left = list[Any](), [body]

    async def receive() -> dict[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return {"type": "http.disconnect"}

    async def send(part: Any) -> None:
        parts.append(part)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "h", **headers}.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }
    await app(scope, receive, send)
    status, *_ = (one["status"] for one in parts if one["type"] == "http.response.start")
    shown = sorted(next(one["headers"] for one in parts if one["type"] == "http.response.start"))
    body = b"".join(one.get("body", b"") for one in parts)
    return status, shown, re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+", b"now", body)


@pytest.fixture(scope="module")
def apps() -> tuple[Any, Any]:
    """Flower's own, and the same with less around it."""
    own, lighter = create_app(), create_app()
    lighten_middleware(lighter, {})
    return own, lighter


@pytest.mark.parametrize("media_type", [PROTOBUF_MEDIA_TYPE, "text/plain"])
@pytest.mark.parametrize("body", BODIES)
def test_every_path_answers_as_before(apps: tuple[Any, Any], body: str, media_type: str) -> None:
    answers = {}
    for path in PATHS:
        for method in ("POST", "GET"):
            asked = method, path, BODIES[body], {"content-type": media_type}
            own, lighter = (asyncio.run(said(one, *asked)) for one in apps)
            assert lighter == own, asked
            answers[path, method] = own[0]
    if media_type == PROTOBUF_MEDIA_TYPE and body != "none":
        assert answers["/v1/fleet/pull-messages", "POST"] == 401  # no node has signed it
        assert answers["/v1/runtime/pull-messages", "POST"] in (401, 403)
    assert answers["/health", "GET"] == 200
    assert len(set(answers.values())) > 3


def test_each_is_called_where_it_has_something_to_do(monkeypatch: pytest.MonkeyPatch, apps: tuple[Any, Any]) -> None:
    called = list[str]()

    async def dispatch(self: Any, request: Any, call_next: Any) -> Any:
        called.append(request.url.path)
        return await call_next(request)

    app = create_app()
    lighten_middleware(app, {})
    monkeypatch.setattr(NodeAuthMiddleware, "dispatch", dispatch)
    for path in PATHS:
        asyncio.run(said(app, "POST", path, b"", {"content-type": PROTOBUF_MEDIA_TYPE}))
    assert called == [path for path in PATHS if path.startswith("/v1/fleet/")]


def test_a_flower_that_lacks_one_is_not_served() -> None:
    app = create_app()
    app.user_middleware = [one for one in app.user_middleware if one.cls is not NodeAuthMiddleware]
    with pytest.raises(EngineError, match="without NodeAuthMiddleware"):
        lighten_middleware(app)


def test_tracing_stays_where_it_is_asked_for() -> None:
    counts = []
    for environment in ({}, {"FLWR_TRACING_ENABLED": "1"}):
        app = create_app()
        lighten_middleware(app, environment)
        counts.append(len(app.user_middleware))
    assert counts == [7, 8]
