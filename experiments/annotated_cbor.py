"""CBOR as hex with a note beside each part, for documents: `d2    tag 18: a COSE_Sign1 message`."""

from collections.abc import Mapping, Set

_NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = 1, 2, 3, 4, 5, 6
_SIMPLE = {20: "false", 21: "true", 22: "null"}
_SHOWN_BYTES = 12
_HEX_COLUMNS = 46


class AnnotatedCbor:
    """The listing of one item in deterministic CBOR.

    Its parts have paths: array places and map keys with slashes between them, such as `0/15/1`.

    Attributes:
        lines: one a part, indented by depth: its hex, shortened if long, and words.
    """

    def __init__(self, raw: bytes, notes: Mapping[str, str], nested: Set[str] = frozenset()) -> None:
        """Args: notes: what a part is, by path. nested: paths of byte strings that hold CBOR themselves."""
        self._notes = notes
        self._nested = nested
        self.lines: list[str] = []
        self._item(raw, 0, "", 0, notes.get("", ""))

    def _item(self, raw: bytes, start: int, path: str, depth: int, note: str) -> int:
        """List the item at `start`; return where it ends."""
        kind, number, at = _head(raw, start)
        head = raw[start:at]
        if kind in (_BYTES, _TEXT):
            return self._string(raw[at : at + number], kind, head, path, depth, note, at + number)
        words = {
            0: str(number),
            _NEGATIVE: str(-1 - number),
            _ARRAY: f"array of {number}",
            _MAP: f"map of {number}",
            _TAG: f"tag {number}",
        }.get(kind, _SIMPLE.get(number, f"simple {number}"))
        self._line(head, depth, words, note)
        if kind == _TAG:
            at = self._item(raw, at, path, depth, "")
        for place in range(number if kind == _ARRAY else 0):
            child = f"{path}/{place}".lstrip("/")
            at = self._item(raw, at, child, depth + 1, self._notes.get(child, ""))
        for _ in range(number if kind == _MAP else 0):
            key, end = _key(raw, at)
            child = f"{path}/{key}".lstrip("/")
            self._line(raw[at:end], depth + 1, f"{key}:", self._notes.get(child, ""))
            at = self._item(raw, end, child, depth + 2, "")
        return at

    def _string(self, body: bytes, kind: int, head: bytes, path: str, depth: int, note: str, end: int) -> int:
        if path in self._nested:
            self._line(head, depth, f"{len(body)} bytes of CBOR", note)
            self._item(body, 0, path, depth + 1, "")
        else:
            is_line = kind == _TEXT and b"\n" not in body
            self._line(head + body, depth, f'"{body.decode()}"' if is_line else f"{len(body)} bytes", note)
        return end

    def _line(self, raw: bytes, depth: int, words: str, note: str) -> None:
        shown = raw[:_SHOWN_BYTES].hex() + ("…" if len(raw) > _SHOWN_BYTES else "")
        self.lines.append(
            f"{'  ' * depth + shown:{_HEX_COLUMNS}}{words}{' ' if words.endswith(':') else ', '}{note}".rstrip(" ,")
        )


def _head(raw: bytes, at: int) -> tuple[int, int, int]:
    """(major type, argument, where the head ends)."""
    kind, short = raw[at] >> 5, raw[at] & 31
    length = 0 if short < 24 else 1 << (short - 24)
    end = at + 1 + length
    return kind, short if not length else int.from_bytes(raw[at + 1 : end], "big"), end


def _key(raw: bytes, at: int) -> tuple[str, int]:
    """A map's key as text, and where it ends."""
    kind, number, end = _head(raw, at)
    if kind == _TEXT:
        return raw[end : end + number].decode(), end + number
    return str(-1 - number if kind == _NEGATIVE else number), end
