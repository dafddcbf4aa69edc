"""A TCP link on loopback that can be cut, slowed or half-closed while programs use it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
_CHUNK_BYTES = 64 << 10
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what is not sent is dropped, and the other side is told


class FaultyLink:
    """Listens on a port of its own and hands bytes on to `target_port`, as long as nobody disturbs it.

    Its methods may be called from any thread. What it carries stays as it is: a fault loses connections, not bytes
    out of the middle of one, as networks do.

    Attributes:
        port: where it listens.
    """

    def __init__(self, target_port: int, port: int = 0) -> None:
        self._target_port = target_port
        self.port = port
        self._delay_s = 0.0
        self._is_cut = False
        self._open: set[asyncio.StreamWriter] = set()
        self._onward: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"link-{target_port}", daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break every connection, and take no new one until `mend`."""
        self._is_cut = True
        self._call(self._break_all)

    def mend(self) -> None:
        """Carry everything again, at once."""
        self._is_cut, self._delay_s = False, 0.0

    def delay(self, delay_s: float) -> None:
        """Hold each piece back for so long, in both directions."""
        self._delay_s = delay_s

    def half_close(self) -> None:
        """Close the way to the target of every connection, and leave the way back open."""
        self._call(self._half_close_all)

    def _call(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._carry, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._break_all()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    async def _break_all(self) -> None:
        for writer in list(self._open):
            _break(writer)

    async def _half_close_all(self) -> None:
        for writer in list(self._onward):
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            _break(writer)
            return
        try:
            onward, out = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            _break(writer)
            return
        self._open |= {writer, out}
        self._onward.add(out)
        try:
            await asyncio.gather(self._pump(reader, out), self._pump(onward, writer))
        finally:
            self._open -= {writer, out}
            self._onward.discard(out)
            for one in (writer, out):
                one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while piece := await reader.read(_CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


def _break(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
