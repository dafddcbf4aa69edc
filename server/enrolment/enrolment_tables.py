"""The tables of `enrolment.db`, and how those of earlier releases become these."""

from __future__ import annotations

import sqlalchemy as sa

from server.store import PREFIX, Part

SAME_KEY_GRACE_S = 7 * 86_400
"""How long a certificate still serves after one for the same key has taken its place: processes keep theirs open."""
OLD_KEY_GRACE_S = 900
"""The same after one for another key."""

_META = sa.MetaData()
INVITES = sa.Table(
    f"{PREFIX}invites",
    _META,
    sa.Column("token_sha256", sa.LargeBinary, primary_key=True),
    sa.Column("member", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("until_s", sa.BigInteger, nullable=False),
    sa.Column("used_by", sa.LargeBinary),
    sa.Column("withdrawn", sa.Boolean, nullable=False, default=False),
)
REQUESTS = sa.Table(
    f"{PREFIX}requests",
    _META,
    sa.Column("member", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("csr", sa.LargeBinary, nullable=False),
    sa.Column("node_key", sa.LargeBinary, nullable=False),
    sa.Column("asked_s", sa.BigInteger, nullable=False),
    sa.Column("admitted", sa.Boolean, nullable=False, default=False),
)
CERTIFICATES = sa.Table(
    f"{PREFIX}certificates",
    _META,
    sa.Column("serial", sa.Text, primary_key=True),
    sa.Column("member", sa.Text, nullable=False),
    sa.Column("pem", sa.LargeBinary, nullable=False),
    sa.Column("issued_s", sa.BigInteger, nullable=False),
    sa.Column("until_s", sa.BigInteger, nullable=False),
    sa.Column("revoked_s", sa.BigInteger),
    sa.Column("superseded_s", sa.BigInteger),
)
NODES = sa.Table(
    f"{PREFIX}nodes",
    _META,
    sa.Column("member", sa.Text, primary_key=True),
    sa.Column("public_key", sa.LargeBinary, nullable=False),
    sa.Column("wanted", sa.Boolean, nullable=False),
    sa.Column("applied", sa.Boolean, nullable=False),
    sa.Column("refused", sa.Text, nullable=False, default=""),
)
PROPOSALS = sa.Table(
    f"{PREFIX}proposals",
    _META,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("proposal", sa.LargeBinary, nullable=False),
    sa.Column("made_s", sa.BigInteger, nullable=False),
    sa.Column("placed", sa.Boolean, nullable=False, default=False),
    sa.Column("refused", sa.Text, nullable=False, default=""),
)


def _keep_superseded_apart(at: sa.Connection) -> None:
    """Version 2: what a renewal ended gets a column of its own; before, it stood as if it had been revoked."""
    name = CERTIFICATES.name
    at.execute(sa.text(f"ALTER TABLE {name} ADD COLUMN superseded_s BIGINT"))
    at.execute(sa.text(f"ALTER TABLE {NODES.name} ADD COLUMN refused TEXT NOT NULL DEFAULT ''"))
    later = CERTIFICATES.alias("later")
    after_s = CERTIFICATES.c.revoked_s - later.c.issued_s
    by_renewal = sa.or_(*(after_s.between(grace_s - 1, grace_s) for grace_s in (SAME_KEY_GRACE_S, OLD_KEY_GRACE_S)))
    ended = sa.exists().where((later.c.member == CERTIFICATES.c.member) & by_renewal)
    apart = {"superseded_s": CERTIFICATES.c.revoked_s, "revoked_s": None}
    at.execute(sa.update(CERTIFICATES).where(CERTIFICATES.c.revoked_s.is_not(None) & ended).values(apart))


def _keep_refusals(at: sa.Connection) -> None:
    """Version 3: what the ledger has refused of a proposal stands beside it."""
    at.execute(sa.text(f"ALTER TABLE {PROPOSALS.name} ADD COLUMN refused TEXT NOT NULL DEFAULT ''"))


PART = Part("enrolment", _META, 3, {2: _keep_superseded_apart, 3: _keep_refusals})
