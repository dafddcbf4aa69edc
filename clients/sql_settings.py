"""`[task.sql]` in `firm.toml`: which database holds a task's records, the query that reads them, and its limits."""

from __future__ import annotations

import hashlib
import re
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

SQLITE = "sqlite:///"
POSTGRESQL = "postgresql://"
_ADVICE = "put it alone into a file of mode 0600 that password_file names, or into a variable that password_env names"


class SqlTable(BaseModel):
    """A query whose result is a task's table.

    Attributes:
        url: `postgresql://USER@HOST:PORT/DATABASE`, with libpq's settings as `?sslmode=verify-full`, or
            `sqlite:///FILE`, relative to the home. Never with a password in it.
        query: one statement that reads: `select …`, `with … select …`. Its columns are found by their names.
        password_file: holds the password and nothing else; relative to the home, readable by its owner alone.
        password_env: the environment variable that holds it.
        most_rows: a result of more rows is refused.
        timeout_s: of connecting, and of the whole reading.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str
    query: str = Field(min_length=1)
    password_file: str | None = None
    password_env: str | None = None
    most_rows: int = Field(default=5_000_000, ge=1)
    timeout_s: int = Field(default=60, ge=1, le=3600)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.url.startswith((POSTGRESQL, SQLITE)):
            raise ValueError("the url begins with postgresql:// or sqlite:///")
        try:
            parts = urlsplit(self.url)
            secret = parts.password is not None or "password" in dict(parse_qsl(parts.query))
        except ValueError:
            raise ValueError("the url cannot be read; write postgresql://USER@HOST/DATABASE") from None
        if secret:
            raise ValueError(f"the url holds a password: {_ADVICE}")
        if self.url.startswith(SQLITE) and parts.query:
            raise ValueError("the url of an SQLite file takes no settings after a question mark")
        if self.password_file is not None and self.password_env is not None:
            raise ValueError("give the password by password_file or by password_env, not both")
        return self

    @property
    def location(self) -> str:
        """The database without user and settings, and a hash of the query in which white space makes no difference."""
        plain = re.sub(r"\s+", " ", self.query.strip().rstrip(";").strip())
        digest = hashlib.sha256(plain.encode()).hexdigest()[:16]
        if self.url.startswith(SQLITE):
            return f"{self.url}#{digest}"
        parts = urlsplit(self.url)
        hosts = [value for name, value in parse_qsl(parts.query) if name in ("host", "port")]
        place = ":".join(one for one in (parts.netloc.rpartition("@")[2].lower(), *hosts) if one)
        return f"{POSTGRESQL}{place}{parts.path}#{digest}"
