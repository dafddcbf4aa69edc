"""SuperLink's middleware, each called only for the requests for which it does anything.

Flower wraps its application nine times, and each wrap starts tasks of its own for every request and for every read of a
body: two thirds of what a request takes. Most of them look at the path and hand on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server.engines import EngineError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from clients.flower.kept_answer import Application, Receive, Scope, Send

_CONTROL, _FLEET, _RUNTIME, _NOWHERE = "/v1/control/", "/v1/fleet/", "/v1/runtime/", ""


def lighten_middleware(app: FastAPI, environment: Mapping[str, str] = os.environ) -> None:
    """Change SuperLink's application before its first request. A middleware that is not known here stays as it is.

    Raises:
        EngineError: the installed Flower lacks one of those that are known.
    """
    from starlette.middleware import Middleware

    paths = _paths(app, environment)
    lacking = paths.keys() - {one.cls for one in app.user_middleware}
    if lacking or app.middleware_stack is not None:
        names = ", ".join(sorted(kind.__name__ for kind in lacking))
        raise EngineError(f"engine: the installed Flower is not the one of this release (without {names}): reinstall")
    app.user_middleware = [
        one if one.cls not in paths else Middleware(_Where, path=paths[one.cls], of=one)
        for one in app.user_middleware
        if paths.get(one.cls) != _NOWHERE
    ]


def _paths(app: FastAPI, environment: Mapping[str, str]) -> dict[Any, str]:
    """With what the paths begin of the requests that a middleware does not simply hand on."""
    from flwr.supercore.routers.runtime.tracing import RuntimeTracingMiddleware
    from flwr.superlink.routers.control import middlewares as control
    from flwr.superlink.routers.fleet.middlewares import FleetEventLogMiddleware
    from flwr.superlink.routers.fleet.node_auth import NodeAuthMiddleware

    return {
        control.ControlSensitiveResponseMiddleware: _CONTROL,
        control.ControlAuthenticationMiddleware: _CONTROL,
        control.ControlLicenseMiddleware: _CONTROL,
        control.ControlEventLogMiddleware: _CONTROL,
        NodeAuthMiddleware: _FLEET,
        FleetEventLogMiddleware: _NOWHERE if app.state.fleet_event_log_plugin is None else _FLEET,
        RuntimeTracingMiddleware: _RUNTIME if environment.get("FLWR_TRACING_ENABLED") == "1" else _NOWHERE,
    }


class _Where:
    """An ASGI application with a middleware around it for some paths; they are those that SuperLink routes by."""

    def __init__(self, app: Application, path: str, of: Any) -> None:
        self._plain, self._path = app, path
        self._wrapped: Application = of.cls(app, *of.args, **of.kwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        concerned = scope["type"] != "http" or scope["path"].startswith(self._path)
        await (self._wrapped if concerned else self._plain)(scope, receive, send)
