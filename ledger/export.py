"""A portable copy of a ledger: a directory of plain files, from which anyone can rebuild all of it.

    checkpoint              the newest checkpoint, with all cosignatures that are known
    checkpoints/SIZE        the same of every checkpoint, by number of entries
    entries/N               entries 256 N to 256 N + 255: a CBOR sequence (RFC 8742) of byte strings
    tile/L/N                the tree's tiles, as C2SP tlog-tiles has them
    ledger.json             origin, cid, founding key and fingerprint: to be compared, not believed

N is written as tlog-tiles writes it (1234067 is `x001/x234/067`), and what is not full yet has the suffix `.p/W` for W
entries or hashes. Entries have a layout of their own, because statements may be larger than tlog-tiles allows.

A copy is written over again with only what is new. Each file appears under its name when it is complete, and
`checkpoint` last: a copy that was interrupted is the one that it was before.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import cbor2

from ledger.checkpoint import SignedCheckpoint
from ledger.errors import Damaged, LedgerError
from ledger.founding import read_founding
from ledger.merkle import HASH_BYTES, consistency_proof, root_at
from ledger.note import SignatureLine
from ledger.startup import edge_at
from ledger.store import Store
from ledger.tiles import TILE_BYTES, TILE_HASHES, TILE_HEIGHT, RightEdge, TileReader

EXPORT_VERSION = 1
_CHECKPOINT, _CHECKPOINTS, _ENTRIES, _TILES, _FACTS = "checkpoint", "checkpoints", "entries", "tile", "ledger.json"
_LATEST = 64


class ExportError(LedgerError):
    """The directory is no copy of a ledger, or of another one, or a file in it is not what was written."""

    exit_code = 1


class CannotExport(ExportError):
    """A copy cannot be written to this place; what was there before is as it was."""

    exit_code = 2


@dataclass(frozen=True)
class Written:
    """What an export did.

    Attributes:
        size: number of entries in the copy now.
        new: how many of them were not in it before.
        files: how many files were written.
    """

    size: int
    new: int
    files: int


def export(store: Store, directory: str | os.PathLike[str]) -> Written:
    """Bring the copy in `directory` up to the newest checkpoint of a log's or a mirror's database.

    Raises:
        CannotExport: the directory cannot be written, or holds something else.
        ExportError: it holds a copy of another history; nothing was changed.
        Damaged: the database is not what was written.
        StoreError: it cannot be read, or has no checkpoint yet.
    """
    meta, size = store.meta(), store.latest_checkpoint()
    if size == 0:
        raise ExportError(f"{store.name}: there is no checkpoint yet; append the founding and checkpoint it first")
    edge = edge_at(store, size)
    if SignedCheckpoint.parse(store.checkpoint_at(size) or "").checkpoint.root != edge.root():
        raise Damaged(f"{store.name}: its entries do not have the root of checkpoint {size}; restore it from a mirror")
    copy = _Copy(Path(directory))
    try:
        known = copy.known(edge, store)
        _write_all(copy, store, meta, edge, known)
    except OSError as error:
        raise CannotExport(f"{directory}: the copy cannot be written there: {os.strerror(error.errno or 0)}") from None
    return Written(size, size - known, copy.files)


class Exported:
    """An exported directory, to be followed by a mirror. Nothing in it is checked here."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Raise `ExportError` unless there is a copy in `directory`."""
        self._path = Path(directory)
        self._note = self._text(_CHECKPOINT)
        self._size = _parsed(self._note, self._path).checkpoint.size
        self._reader = TileReader(self._full_tile)
        self.facts = self._facts()

    def checkpoint(self) -> str:
        """The newest checkpoint, with all cosignatures that the copy has."""
        return self._note

    def final(self) -> str | None:
        """Of the newest checkpoints the one with the most cosignatures, the newest of those; None without any."""
        best: tuple[int, int, str] | None = None
        for note in self._notes(self._sizes()[-_LATEST:]):
            signed = _parsed(note, self._path)
            rank = (len(signed.lines), signed.checkpoint.size, note)
            best = rank if best is None else max(best, rank)
        return None if best is None or best[0] < 2 else best[2]

    def notes(self, start: int = 0) -> Iterator[str]:
        """The checkpoints of the copy over at least `start` entries with their cosignatures, smallest first."""
        return self._notes([size for size in self._sizes() if size >= start])

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries `start` to `end - 1`.

        Raises:
            ExportError: the copy does not have them.
        """
        found: list[bytes] = []
        for bundle in range(start // TILE_HASHES, -(-end // TILE_HASHES)):
            first = bundle * TILE_HASHES
            items = self._bundle(bundle)
            found += items[max(start - first, 0) : end - first]
        if len(found) != end - start:
            raise ExportError(f"{self._path}: the copy does not have entries {start} to {end - 1}; export again")
        return found

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of `new` entries extends that of `old`, from the copy's tiles; empty when `old` is 0."""
        if not 0 <= old <= new <= self._size:
            raise ExportError(f"{self._path}: no proof from {old} to {new}: the copy has {self._size} entries")
        return consistency_proof(old, new, self._reader.fetch(self._edge())) if old else []

    def _sizes(self) -> list[int]:
        files = (self._path / _CHECKPOINTS).glob("*")
        names = [file.name for file in files if file.name.isascii() and file.name.isdecimal() and len(file.name) < 20]
        return sorted(size for size in map(int, names) if size <= self._size)

    def _notes(self, sizes: list[int]) -> Iterator[str]:
        return (self._text(f"{_CHECKPOINTS}/{size}") for size in sizes)

    def _edge(self) -> RightEdge:
        partial, count, level = [], self._size, 0
        while count:
            full, rest = divmod(count, TILE_HASHES)
            raw = self._bytes(_partial(f"{_TILES}/{level}", full, rest)) if rest else b""
            if len(raw) != rest * HASH_BYTES:
                raise ExportError(f"{self._path}: the tile {level}/{full} has the wrong length; export again")
            partial.append(raw)
            count, level = full, level + 1
        return RightEdge.of(tuple(partial))

    def _full_tile(self, level: int, index: int) -> bytes:
        raw = self._bytes(f"{_TILES}/{level}/{tile_path(index)}")
        if len(raw) != TILE_BYTES:
            raise ExportError(f"{self._path}: the tile {level}/{index} has the wrong length; export again")
        return raw

    def _bundle(self, index: int) -> list[bytes]:
        full, rest = divmod(self._size, TILE_HASHES)
        whole = index < full
        raw = self._bytes(f"{_ENTRIES}/{tile_path(index)}" if whole else _partial(_ENTRIES, index, rest))
        stream = BytesIO(raw)
        items: list[bytes] = []
        while stream.tell() < len(raw):
            try:
                item = cbor2.load(stream)
            except Exception as error:  # cbor2 lets through what hostile bytes raise in it
                raise ExportError(f"{self._path}: entries {index} are not a CBOR sequence: {error}") from None
            if not isinstance(item, bytes):
                raise ExportError(f"{self._path}: entries {index} hold something else than entries")
            items.append(item)
        return items

    def _facts(self) -> dict[str, str]:
        try:
            facts: Any = json.loads(self._text(_FACTS))
        except ValueError:
            raise ExportError(f"{self._path / _FACTS}: is not JSON; export again") from None
        if not isinstance(facts, dict) or facts.pop("v", None) != EXPORT_VERSION:
            raise ExportError(f"{self._path}: the copy is of a version that this program does not read")
        return {str(name): str(value) for name, value in facts.items()}

    def _text(self, name: str) -> str:
        try:
            return self._bytes(name).decode()
        except UnicodeDecodeError:
            raise ExportError(f"{self._path / name}: is not text; export again") from None

    def _bytes(self, name: str) -> bytes:
        try:
            return (self._path / name).read_bytes()
        except OSError as error:
            raise ExportError(f"{self._path / name}: {error.strerror}; is this a whole copy of a ledger?") from None


def tile_path(index: int) -> str:
    """The path of the full tile or bundle `index` below its level, as tlog-tiles writes it."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def _partial(folder: str, index: int, count: int) -> str:
    return f"{folder}/{tile_path(index)}.p/{count}"


class _Copy:
    """The files of a copy that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files = 0

    def known(self, edge: RightEdge, store: Store) -> int:
        """How many entries the directory has of the same history; 0 when it is empty."""
        if not (self._path / _CHECKPOINT).exists():
            if self._path.exists() and any(file.name not in _NAMES for file in self._path.iterdir()):
                raise CannotExport(f"{self._path}: holds other files; choose an empty directory for the copy")
            return 0
        point = _parsed(Exported(self._path).checkpoint(), self._path).checkpoint
        known = point.size <= edge.size
        if not known or root_at(point.size, TileReader(store.tile).fetch(edge)) != point.root:
            raise ExportError(
                f"{self._path}: holds a copy of another history, or a newer one; choose another directory"
            )
        return point.size

    def put(self, name: str, content: bytes) -> None:
        """Write a file, unless it is there with this content."""
        file = self._path / name
        if file.exists() and file.read_bytes() == content:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.new")
        with temporary.open("wb") as out:
            out.write(content)
            out.flush()
        os.replace(temporary, file)
        self.files += 1

    def prune(self) -> None:
        """Remove what was not full once and has been written again since."""
        for folder in [*self._path.glob(f"{_ENTRIES}/**/*.p"), *self._path.glob(f"{_TILES}/*/**/*.p")]:
            kept = (
                None if folder.with_suffix("").exists() else max(folder.glob("[0-9]*"), key=lambda file: int(file.name))
            )
            for file in folder.iterdir():
                if file != kept:
                    file.unlink()
            if kept is None:
                folder.rmdir()


_NAMES = {_CHECKPOINTS, _ENTRIES, _TILES, _FACTS, f".{_CHECKPOINT}.new", f".{_FACTS}.new"}


def _write_all(copy: _Copy, store: Store, meta: dict[str, str], edge: RightEdge, known: int) -> None:
    size = edge.size
    for bundle in range(known // TILE_HASHES, -(-size // TILE_HASHES)):
        first, last = bundle * TILE_HASHES, min((bundle + 1) * TILE_HASHES, size)
        content = b"".join(cbor2.dumps(raw) for raw in store.entries(first, last))
        whole = last - first == TILE_HASHES
        copy.put(f"{_ENTRIES}/{tile_path(bundle)}" if whole else _partial(_ENTRIES, bundle, last - first), content)
    for level, partial in enumerate(edge.partial):
        full = size >> TILE_HEIGHT * (level + 1)
        start = known >> TILE_HEIGHT * (level + 1)
        for index, hashes in enumerate(store.tiles(level, start, full), start=start):
            copy.put(f"{_TILES}/{level}/{tile_path(index)}", hashes)
        if partial:
            copy.put(_partial(f"{_TILES}/{level}", full, len(partial) // HASH_BYTES), partial)
    founding = read_founding(meta["origin"], store.entries, size)
    facts = {"v": EXPORT_VERSION, "origin": meta["origin"], "cid": meta["cid"], "vkey": meta["vkey"]}
    copy.put(_FACTS, json.dumps({**facts, "founding": founding.fingerprint}, indent=2).encode() + b"\n")
    note = ""
    for at, bare in store.checkpoints(0, size).items():
        lines = [SignatureLine.parse(line) for line in store.cosignatures(at).values()]
        note = SignedCheckpoint.parse(bare).with_lines(lines)
        copy.put(f"{_CHECKPOINTS}/{at}", note.encode())
    os.sync()  # once for all files, before the checkpoint that vouches for them
    copy.put(_CHECKPOINT, note.encode())
    os.sync()
    copy.prune()


def _parsed(note: str, path: Path) -> SignedCheckpoint:
    try:
        return SignedCheckpoint.parse(note)
    except LedgerError as error:
        raise ExportError(f"{path}: a checkpoint in it cannot be read: {error}") from None
