"""An HTTP proxy on loopback that knows CONNECT and one name, which no other resolver knows (RFC 9110, 9.3.6)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class ConnectProxy:
    """Tunnels to ports of `name`, which it takes for an address of this machine; everything else is refused.

    Args:
        name: see there.
        address: where `name` is.

    Attributes:
        url: of the proxy.
        ports: those that tunnels were opened to.
        refused: first lines of requests that were refused.
    """

    def __init__(self, name: str, address: str = HOST) -> None:
        self._name, self._address = name, address
        self.url = ""
        self.ports: set[int] = set()
        self.refused: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, HOST, 0)
        server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        open_ = asyncio.all_tasks() - {asyncio.current_task()}
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split(" ", 2)
            name, _, port = target.rpartition(":")
            if method != "CONNECT" or name != self._name:
                self.refused.append(head.splitlines()[0])
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
                writer.close()
                return
            self.ports.add(int(port))
            onward_reader, onward = await asyncio.open_connection(self._address, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, onward), _pump(onward_reader, writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
