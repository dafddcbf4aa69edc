"""The TOML block with which an organisation asks to be enrolled: its id, kind, name and public key."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ledger.genesis import Founder
from ledger.homes import HomeError, load_toml
from ledger.keys import KeyFileError, PublicKey
from ledger.rules.records import MAX_TEXT, is_slug

KINDS = ("firm", "bank")
_BLOCK = ("id", "kind", "name", "key")


def member_block(member: Founder) -> str:
    """The TOML block with which a member asks to be enrolled."""
    key = base64.b64encode(member.key.raw).decode()
    quoted = {"id": member.member, "kind": member.kind, "name": member.name, "key": key}
    lines = [f"{name} = {_quote(value)}" for name, value in quoted.items()]
    return "\n".join(["[[member]]", f"# fingerprint {member.key.fingerprint}", *lines, ""])


def read_members(path: Path) -> list[Founder]:
    """The `[[member]]` blocks of a TOML file.

    Raises:
        HomeError: the file cannot be read, or a block is not as `member_block` writes it; says which and why.
    """
    document = load_toml(path)
    blocks = document.get("member")
    if not isinstance(blocks, list) or not blocks or set(document) != {"member"}:
        raise HomeError(f"{path}: [[member]] blocks are expected and nothing else; see artesian ledger members key")
    return [_member(block, f"{path}: member {number}") for number, block in enumerate(blocks, start=1)]


def _member(block: Any, where: str) -> Founder:
    if (
        not isinstance(block, Mapping)
        or set(block) != set(_BLOCK)
        or not all(isinstance(v, str) for v in block.values())
    ):
        raise HomeError(f"{where}: needs the texts {', '.join(_BLOCK)}, and no other")
    if not is_slug(block["id"]):
        raise HomeError(f"{where}: id {block['id']!r} must be of lower-case letters, digits and hyphens")
    if block["kind"] not in KINDS:
        raise HomeError(f"{where}: kind {block['kind']!r} must be {' or '.join(KINDS)}")
    if not 0 < len(block["name"]) <= MAX_TEXT:
        raise HomeError(f"{where}: name must be a text of 1 to {MAX_TEXT} characters")
    try:
        key = PublicKey(base64.b64decode(block["key"], validate=True))
    except (binascii.Error, ValueError):
        raise HomeError(f"{where}: key is not Base 64; copy it again") from None
    except KeyFileError as error:
        raise HomeError(f"{where}: {error}") from None
    return Founder(block["id"], block["kind"], key, block["name"])


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
