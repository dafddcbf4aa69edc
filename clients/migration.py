"""A home's files have a version, `version.json`; a newer release brings an older home forward, step by step.

A home without the file is of version 0. Each migration names the files that it changes, which are copied beside
themselves first (`NAME.before-1`), and consists of acts that may be done again: one that was cut short is done anew
from its beginning, over whatever it had done, and the copies that are there stay. The number is written last.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients.errors import ClientError
from clients.versions import SOFTWARE, STATE_VERSION
from ledger.folder_sync import sync_folder
from ledger.whole_file import write_whole

VERSION_FILE = "version.json"
Between = Callable[[str], None]
"""Called between any two steps with the one that was done; tests stop there."""


class HomeUnreadable(ClientError):
    """`version.json` cannot be read, or another process is migrating the home."""


class HomeOfLaterRelease(ClientError):
    """A later release has brought the home forward; nothing of it was touched."""


@dataclass(frozen=True)
class Act:
    """One thing that a migration does.

    Attributes:
        what: in words, for people.
        do: does it to a home, whole or not at all; done a second time it changes nothing.
    """

    what: str
    do: Callable[[Path], None]


@dataclass(frozen=True)
class Migration:
    """From one version of a home to the next.

    Attributes:
        start, end: the versions.
        acts: in order.
        changes: names of files that it changes where they are there.
    """

    start: int
    end: int
    acts: tuple[Act, ...]
    changes: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What it does, in words."""
        return "; ".join(act.what for act in self.acts)


def state_version(home: Path) -> int:
    """The version of a home's files.

    Raises:
        HomeUnreadable: `version.json` says none.
        HomeOfLaterRelease: this release does not read it; says which one does.
    """
    path = home / VERSION_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version, software = document["state"], str(document["software"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError):
        raise HomeUnreadable(f"{path}: does not say the version of this home; restore it from a backup") from None
    if type(version) is not int or version < 0:
        raise HomeUnreadable(f"{path}: {version!r} is no version of a home; restore it from a backup")
    if version > STATE_VERSION:
        raise HomeOfLaterRelease(
            f"{home}: its files are of version {version}, this is artesian {SOFTWARE}, which reads up to "
            f"{STATE_VERSION}: install artesian {software} or later"
        )
    return version


def pending(home: Path, chain: Sequence[Migration]) -> list[Migration]:
    """The migrations that bring a home to the present version, in order.

    Raises:
        HomeUnreadable, HomeOfLaterRelease: as `state_version`.
    """
    version = state_version(home)
    return [one for one in chain if one.start >= version]


def migrate(home: Path, chain: Sequence[Migration], between: Between = lambda _: None) -> list[Migration]:
    """Bring a home forward; returns what was done, which is nothing where it is of the present version.

    Raises:
        HomeUnreadable: also where another process is migrating it.
        HomeOfLaterRelease: nothing was touched.
        OSError: a file cannot be written; when that is mended, it goes on.
    """
    if not pending(home, chain):
        return []
    with _alone(home):
        todo = pending(home, chain)
        for one in todo:
            for name in one.changes:
                _keep(home / name, one.end)
                between(f"keep {name}")
            for act in one.acts:
                act.do(home)
                between(act.what)
            write_version(home, one.end)
            between(f"version {one.end}")
    return todo


def write_version(home: Path, version: int = STATE_VERSION) -> None:
    """Note that the home's files are of this version; new homes are made with the present one."""
    document = {"state": version, "software": SOFTWARE}
    write_whole(home / VERSION_FILE, (json.dumps(document) + "\n").encode())


def folders(*names: str) -> Act:
    """Make folders that only the home's owner reads."""

    def make(home: Path) -> None:
        for name in names:
            (home / name).mkdir(mode=0o700, exist_ok=True)
        sync_folder(home)

    return Act(f"make the folders {', '.join(names)}", make)


def _keep(path: Path, version: int) -> None:
    """Copy a file beside itself before it is changed, once: what a crash left half-changed stays out of it."""
    copy = path.with_name(f"{path.name}.before-{version}")
    if not path.is_file() or copy.exists():
        return
    write_whole(copy, path.read_bytes())
    shutil.copymode(path, copy)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise HomeUnreadable(f"{home}: another process is bringing this home forward; wait for it") from None
    finally:
        os.close(descriptor)
