"""Reaching the consortium through an HTTP proxy: what gRPC and Flower's HTTP client read in their environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from clients.errors import ClientError


class BadProxy(ClientError):
    """`--proxy`, or `proxy` in `connection.toml`, is not the URL of an HTTP proxy."""


def proxy_environment(proxy: str) -> Mapping[str, str]:
    """The environment of processes that go through `proxy`; nothing where it is empty.

    Both open a tunnel (CONNECT, RFC 9110 section 9.3.6) and speak TLS inside it, so the proxy sees names, ports and
    sizes. Connections within this machine go round it, by NO_PROXY.

    Raises:
        BadProxy: it is no `http://HOST:PORT`.
    """
    if not proxy:
        return {}
    try:
        parts = urlsplit(proxy)
        good = parts.scheme == "http" and parts.hostname is not None and parts.port is not None
    except ValueError:
        good = False
    if not good:
        raise BadProxy(f"proxy: {proxy!r} is not the URL of a proxy, like http://proxy.example:3128")
    # gRPC reads lower case only; the names in capitals are for everything else.
    return dict.fromkeys(("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"), proxy)


def go_through(proxy: str) -> None:
    """Let what this process opens from now on go through `proxy`; where it is empty, nothing changes.

    Raises:
        BadProxy: as `proxy_environment`.
    """
    os.environ.update(proxy_environment(proxy))
