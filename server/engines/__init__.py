"""Where rounds run: one module an engine, and the grid that two of them share."""

from server.errors import ServerError


class EngineError(ServerError):
    """An engine cannot start, or was asked for something that no engine can do."""


class EngineUnreachable(EngineError):
    """A process of the engine did not come up, went away, or did not finish before its deadline."""

    exit_code = 3
