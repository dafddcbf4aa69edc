"""`artesian firm renew` and `artesian bank renew`: the certificate now, or by itself whenever it is due."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from clients.at_the_desk import Home, Json, desk_of_home, mirrored, tell


def renew(
    home: Home,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Make another TLS key too: the present one is lost or may be known.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and renew whenever it is due, until SIGTERM.")] = False,
    as_json: Json = False,
) -> None:
    """Renew this member's TLS certificate if two thirds of its life are over or it is revoked; otherwise do nothing.

    A renewal with --new-key that was cut off is finished.

    With --watch it also finishes joining when the member has been admitted. In either way it takes a consortium.toml
    that the members have changed, unless it changes a task's spec.
    """
    from clients.policy_watch import PolicyWatch
    from clients.renewal import renew as renew_certificate

    if watch:
        _watch(home)
        return
    at = renew_certificate(home, time.time, new_key=new_key)
    PolicyWatch(home, time.time, tell).look()
    if as_json:
        typer.echo(json.dumps({"ok": True, "renewed": at.done, "due_s": int(at.due_s), "until_s": int(at.until_s)}))
        return
    typer.echo(f"{'Renewed' if at.done else 'Nothing is due'}; it holds until {_day(at.until_s)}.")
    if not at.done:
        typer.echo(f"It is renewed from {_day(at.due_s)} on.")


def _watch(home: Path) -> None:
    import signal
    import threading

    from clients.coordinator_view import say_release
    from clients.policy_watch import LOOK_S, PolicyWatch
    from clients.renewal import keep_renewed

    stop, policy = threading.Event(), PolicyWatch(home, time.time, tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def pause(wait_s: float) -> bool:
        until_s = time.monotonic() + wait_s
        while not stop.wait(min(LOOK_S, max(0.0, until_s - time.monotonic()))):
            policy.look()
            if time.monotonic() >= until_s:
                return True
        return False

    keep_renewed(home, time.time, pause, tell, lambda: _finish(home), lambda: say_release(home, time.time))


def _finish(home: Path) -> bool:
    """Make the home whole if it has been admitted; says whether it is."""
    from clients.joining import complete, joined, look

    if joined(home) is not None:
        return True
    with desk_of_home(home) as desk:
        standing = look(home, desk)
    if standing.phase != "enrolled":
        return False
    done = complete(home, standing, lambda checked: mirrored(home, checked))
    tell(f"{done.connection.member} is a member of {done.connection.cid}; founding fingerprint {done.fingerprint}")
    return True


def _day(moment_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment_s))
