"""How every ledger command answers: one line or one JSON document, and the exit code that an error names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.errors import LedgerError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


class UsageError(LedgerError):
    """The command was given too little, or a file that cannot be read or written."""

    exit_code = 2


@contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """Turn an expected error into one line (or one JSON document) and its exit code."""
    try:
        yield
    except LedgerError as error:
        if as_json:
            typer.echo(json.dumps({"ok": False, "problem": str(error)}, ensure_ascii=False))
        else:
            typer.echo(printable(str(error)), err=True)
        raise typer.Exit(error.exit_code) from None


def answer(facts: Mapping[str, Any], words: Sequence[str], as_json: bool) -> None:
    """Print what a command found: `facts` for programs, or `words`, a line each, for people."""
    if as_json:
        typer.echo(json.dumps(plain(facts), indent=2, ensure_ascii=False))
    elif words:
        typer.echo("\n".join(printable(line) for line in words))


def tell(line: str) -> None:
    """Say on standard error what is going on, while the answer is still to come."""
    typer.echo(printable(line), err=True)


def plain(value: Any) -> Any:
    """A record for JSON: bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def printable(text: str) -> str:
    """Text of others for a terminal: control and direction characters are shown, not obeyed."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def read(path: Path) -> bytes:
    """The bytes of a file that the user named.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from None


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it, if they are not there.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path}: is not a folder, or not in one; choose another") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be made: {os.strerror(error.errno or 0)}") from None


def write(path: Path, content: bytes, *, replace: bool = False, mode: int = 0o644) -> None:
    """Write a file whole or not at all; over an existing one only when `replace`.

    Raises:
        UsageError: it is there already, or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            if replace:
                os.replace(temporary, path)
            else:
                os.link(temporary, path)  # unlike a rename, fails when the name is taken
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError:
        raise UsageError(f"{path}: is there already; move it away or choose another name") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {os.strerror(error.errno or 0)}") from None
