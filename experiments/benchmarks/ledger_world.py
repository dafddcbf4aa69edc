"""A consortium that fills a ledger: eight firms train, two banks ask, supply-chain statements come in between."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

from ledger.checkpoint import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint, witness_name
from ledger.checkpoint_book import CheckpointBook
from ledger.encoding import encode_item
from ledger.genesis import Founder, genesis_statements, record
from ledger.keys import SigningKey
from ledger.log import SNAPSHOT_EVERY
from ledger.note import Vkey
from ledger.replay import Replayed, step
from ledger.rules import COORDINATOR
from ledger.snapshot import Snapshot, put_snapshot
from ledger.statement import Statement, decode_statement, sign_statement
from ledger.store import Store
from ledger.tiles import Tile

CID, ORIGIN = "bench", "bench.example/ledger"
FIRMS, BANKS = 8, 2
COSIGNERS = 7
_ORDERS = 30
_PUBLISH_EVERY = 10
_BATCH = 2_000
_CHECKPOINT_EVERY = 10_000
_NO_SIGNATURE = encode_item(bytes(64))


@dataclass
class Traffic:
    """What the members of one consortium put on its ledger, from a seed.

    Attributes:
        hybrid: whether the members and the coordinator sign with ML-DSA-65 too.
        keys: by member; the coordinator's is the log's too.
    """

    hybrid: bool = False
    keys: dict[str, SigningKey] = field(default_factory=dict)
    _heads: dict[tuple[str, str], tuple[bytes, bytes]] | None = None
    _random: Random = field(default_factory=lambda: Random(20261122))
    _models: list[bytes] = field(default_factory=list)
    _published: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = [COORDINATOR, *self.firms, *self.banks]
        self.keys = {name: SigningKey.generate(hybrid=self.hybrid) for name in names}

    def stop_signing(self) -> None:
        """Give statements zeros for signatures from now on; checkpoints and cosignatures stay real."""
        self._heads = {}

    @property
    def firms(self) -> list[str]:
        """The members that train."""
        return [f"firm-{number}" for number in range(FIRMS)]

    @property
    def banks(self) -> list[str]:
        """The members that ask."""
        return [f"bank-{number}" for number in range(BANKS)]

    def genesis(self) -> list[bytes]:
        """The founding entries, and the task that is trained."""
        founders = [
            Founder(name, "bank" if name in self.banks else "firm", self.keys[name].public, name)
            for name in [*self.firms, *self.banks]
        ]
        founding = genesis_statements(
            CID, self.keys[COORDINATOR], founders, min_cohort=2, ts=0, entropy=self._random.randbytes
        )
        return [*founding, self._sign(COORDINATOR, "task", task="credit", spec=bytes(32)).raw]

    def statements(self) -> Iterator[Statement]:
        """Without end: of 42 entries 8 are contributions, 24 attestations, 6 queries, 2 consents, 2 of the round."""
        number = 0
        while True:
            yield from self._round(publish=number % _PUBLISH_EVERY == 0)
            for place in range(24):
                yield self._sign(self.firms[place % FIRMS], "attest", subject=f"batch-{place}", artifact=self._hash())
            for place in range(6):
                yield self._query(self.banks[place % BANKS])
            for place in range(2):
                bank, firm = self.banks[place], self.firms[(number + place) % FIRMS]
                yield self._sign(firm, "consent", firm=firm, bank=bank, purpose="score", until=number)
            number += 1

    def cosigned(self, checkpoint: Checkpoint) -> tuple[str, dict[str, str]]:
        """The log's note over a checkpoint, and the cosignature lines of a quorum by key name."""
        note = sign_checkpoint(checkpoint, self.keys[COORDINATOR])
        body, now_s = SignedCheckpoint.parse(note).body, int(time.time())
        names = [(witness_name(ORIGIN, member), member) for member in [*self.firms, *self.banks][:COSIGNERS]]
        return note, {n: cosign(body, name=n, key=self.keys[member], timestamp_s=now_s) for n, member in names}

    def _round(self, *, publish: bool) -> Iterator[Statement]:
        parent = self._models[-1] if self._models else None
        plan = {"clip": 1_000_000, "noise": 1_100_000, "ring": 32, "threshold": FIRMS - 2}
        opened = self._sign(COORDINATOR, "round", task="credit", plan=plan, cohort=self.firms, parent_model=parent)
        yield opened
        sent = [
            self._sign(
                firm,
                "contribution",
                parent=opened.digest,
                round=opened.payload["id"],
                commit=self._hash(),
                n_bucket=1000,
                rdp=[1_000_000 + order for order in range(_ORDERS)],
                clip=1_000_000,
            )
            for firm in self.firms
        ]
        yield from sent
        model = self._hash()
        inputs = [statement.digest for statement in sent]
        closed = {"round": opened.payload["id"], "inputs": inputs, "unmask": self._hash(), "model": model}
        yield self._sign(COORDINATOR, "aggregate", **closed)
        self._models = [model]
        if publish:
            yield self._sign(COORDINATOR, "publish", round=opened.payload["id"], model=model, manifest=self._hash())
            self._published = [model]

    def _query(self, bank: str) -> Statement:
        asked = {"bank": bank, "purpose": "score", "subject": self._hash(), "answer": self._hash()}
        return self._sign(bank, "query", **asked, model=self._published[-1])

    def _sign(self, issuer: str, t: str, **fields: Any) -> Statement:
        payload = record(t, cid=CID, record_id=self._random.randbytes(16), ts=0, **fields)
        if self._heads is None:
            return decode_statement(sign_statement(payload, issuer=issuer, subject=t, key=self.keys[issuer]))
        return self._unsigned(issuer, t, payload, self._heads)

    def _unsigned(
        self, issuer: str, t: str, payload: dict[str, Any], heads: dict[tuple[str, str], tuple[bytes, bytes]]
    ) -> Statement:
        """What `decode_statement` would give, put together from parts that stay the same."""
        if (issuer, t) not in heads:
            model = decode_statement(sign_statement(payload, issuer=issuer, subject=t, key=self.keys[issuer]))
            body = encode_item(model.payload_bytes) + encode_item(model.signature)
            heads[issuer, t] = model.raw[: -len(body)], model.protected
        (head, protected), body = heads[issuer, t], encode_item(payload)
        raw = head + encode_item(body) + _NO_SIGNATURE
        kid = self.keys[issuer].public.kid
        return Statement(raw, payload, body, issuer, t, kid, protected, bytes(64))

    def _hash(self) -> bytes:
        return self._random.randbytes(32)


@dataclass(frozen=True)
class Filled:
    """A large ledger as a crash leaves it at the worst moment: just before the next snapshot.

    Attributes:
        path: the SQLite file.
        key: the log's.
        size: number of entries, all final.
        built_s: how long it took to fill, in seconds.
    """

    path: Path
    key: SigningKey
    size: int
    built_s: float


@lru_cache(1)
def filled_ledger(size: int) -> Filled:
    """A ledger of `size` entries whose statements are unsigned, its checkpoints cosigned by a quorum.

    It is filled without the checks of a log, for signatures of a million statements would take minutes. Everything
    else is as a log writes it: rules applied, tiles, checkpoints, cosignatures, snapshot. Deleted at exit.
    """
    folder = Path(tempfile.mkdtemp(prefix="artesian-ledger-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    began = time.perf_counter()
    traffic, store = Traffic(), Store(folder / "ledger.db")
    key = traffic.keys[COORDINATOR]
    store.create({"origin": ORIGIN, "cid": CID, "vkey": str(Vkey.of_log(ORIGIN, key.public))})
    founding = [decode_statement(raw) for raw in traffic.genesis()]
    traffic.stop_signing()
    statements = islice(chain(founding, traffic.statements()), size)
    at, book = Replayed.nothing(CID), CheckpointBook(store, ORIGIN)
    snapshot_at = max(size - SNAPSHOT_EVERY + 1, len(founding))
    for end in sorted({*range(_BATCH, size, _BATCH), snapshot_at, size}):
        at = _append(store, book, at, islice(statements, end - at.state.size))
        if end % _CHECKPOINT_EVERY == 0 or end == size:
            note, lines = traffic.cosigned(Checkpoint(ORIGIN, end, at.frontier.root()))
            with store.write() as transaction:
                transaction.put_checkpoint(end, note)
            book.pass_checkpoint(end)
            book.add_cosignatures(lines.values(), end, time.time())
        if end == snapshot_at:
            put_snapshot(store, Snapshot(ORIGIN, at.frontier.root(), at.state, book.to_value()), key)
    store.close()
    return Filled(folder / "ledger.db", key, size, time.perf_counter() - began)


def _append(store: Store, book: CheckpointBook, at: Replayed, statements: Iterable[Statement]) -> Replayed:
    rows, tiles = list[tuple[int, bytes, bytes]](), list[Tile]()
    for statement in statements:
        rows.append((at.state.size, statement.digest, statement.raw))
        at, full = step(at, statement, verify=False)
        tiles += full
        book.pass_entry(at.state)
    with store.write() as transaction:
        transaction.put_entries(rows, tiles, int(time.time()))
    return at
