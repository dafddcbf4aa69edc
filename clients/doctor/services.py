"""Whether the consortium's services can be reached: names, ports, the proxy, TLS; and whether the clocks agree."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from clients.certificates import AUTHORITY_CERTIFICATE
from clients.doctor.check import Check, Finding, Level, ok
from clients.doctor.probe import Probe, ProxyRefused, Seen
from clients.proxy import proxy_environment
from ledger.service.tls import host_and_port

MOST_SKEW_S, BROKEN_SKEW_S = 30.0, 300.0
SOON_S = 14 * 86_400
FLEET = "fleet"
"""The one service that speaks plain HTTP inside TLS, and so says what time it is."""

_VERIFY: Mapping[int, tuple[str, str]] = {
    9: ("its certificate is not valid yet", "set this machine's clock, or the coordinator's: one is wrong"),
    10: ("its certificate has expired", "the coordinator runs: artesian coordinator renew; check this clock, too"),
    62: (
        "its certificate is for another name",
        "use the name that [network] host of coordinator.toml says",
    ),
    64: ("its certificate is for another address", "use the name of the invite instead of an address"),
}
_OTHER_CA = (
    "its certificate is by another authority than ca.crt",
    "compare ca.crt's fingerprint with the coordinator by telephone; a proxy that opens TLS must let this host through",
)


def service_checks(
    home: Path, addresses: Mapping[str, str], proxy: str, probe: Probe, now: Callable[[], float]
) -> list[Check]:
    """One check for each service.

    Args:
        addresses: HOST:PORT by service; those that are empty are left out.
        proxy: URL of an HTTP proxy; empty for none.
    """
    checks = [Check("proxy", lambda: _proxy(proxy, probe))] if proxy else []

    def of(name: str, address: str) -> Check:
        return Check(name, lambda: _service(home, name, address, proxy, probe, now))

    return checks + [of(name, address) for name, address in addresses.items() if address]


def _proxy(proxy: str, probe: Probe) -> Iterator[Finding]:
    proxy_environment(proxy)
    parts = urlsplit(proxy)
    host, port = str(parts.hostname), int(parts.port or 0)
    mend = "check `proxy` in connection.toml with whoever runs the proxy"
    try:
        probe.resolve(host)
        probe.reach(host, port, "")
    except OSError as error:
        yield Finding("unreachable", f"{host}:{port}: {_line(error)}", mend)
        return
    yield ok(f"{host}:{port} listens")


def _service(
    home: Path, name: str, address: str, proxy: str, probe: Probe, now: Callable[[], float]
) -> Iterator[Finding]:
    host, port = host_and_port(address)
    if not proxy:
        try:
            probe.resolve(host)
        except OSError as error:
            mend = f"check {host} in connection.toml, the DNS server, or /etc/hosts"
            yield Finding("unreachable", f"{address}: the name {host} is not found: {_line(error)}", mend)
            return
    try:
        probe.reach(host, port, proxy)
    except ProxyRefused as error:
        mend = f"have the proxy let CONNECT {address} through"
        yield Finding("unreachable", f"{address}: the proxy opens no tunnel: {_line(error)}", mend)
        return
    except OSError as error:
        yield Finding("unreachable", f"{address}: {_line(error)}", _why(error, port))
        return
    try:
        seen = probe.handshake(host, port, proxy, home / AUTHORITY_CERTIFICATE, http=name == FLEET)
    except ssl.SSLCertVerificationError as error:
        what, mend = _VERIFY.get(error.verify_code, _OTHER_CA)
        yield Finding("fail", f"{address}: {what}", mend)
        return
    except (ssl.SSLError, OSError) as error:
        mend = "something else than this service listens there; check the port, and proxies on the way"
        yield Finding("fail", f"{address}: no TLS: {_line(error)}", mend)
        return
    yield from _seen(address, seen, now)


def _seen(address: str, seen: Seen, now: Callable[[], float]) -> Iterator[Finding]:
    left = seen.until_s - now()
    if left < SOON_S:
        what = f"{address}: the service's certificate ends in {max(left, 0) / 86_400:.0f} days"
        yield Finding("warn", what, "tell the coordinator: artesian coordinator renew")
    else:
        yield ok(f"{address}: reached, its certificate is the consortium's")
    if seen.date_s is None:
        return
    skew = now() - seen.date_s
    if abs(skew) <= MOST_SKEW_S:
        yield ok(f"the clocks differ by {abs(skew):.0f} s")
        return
    ahead = "ahead of" if skew > 0 else "behind"
    what = f"this machine's clock is {abs(skew):.0f} s {ahead} the coordinator's"
    level: Level = "fail" if abs(skew) > BROKEN_SKEW_S else "warn"
    yield Finding(level, what, "run a time service (chrony, systemd-timesyncd) on both machines")


def _why(error: OSError, port: int) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens there: is `artesian coordinator up` running, and is it port {port}?"
    return f"a firewall may drop it: let this machine call out to port {port}"


def _line(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, socket.gaierror):
        return str(error.args[-1])
    return (str(error.strerror or error).splitlines() or ["no answer"])[0]
