"""Masking secrets on disk: for their owner only, whole or refused, and gone when their epoch ends."""

from __future__ import annotations

import secrets
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clients.masking.contribution import Kept
from clients.masking.epoch import EpochKeyPair
from clients.masking.errors import EpochEnded, KeySetupRefused
from clients.masking.pair_secrets import PairSecrets
from clients.masking.session import RosterEntry, Session
from clients.round_secrets import Ended, RoundSecrets

ROUND = bytes(range(16))
SIGNER, NOW_S = bytes(range(32)), 1_800_000_000


def roster(secret: RoundSecrets, epoch: int) -> tuple[RosterEntry, ...]:
    others = [RosterEntry(f"firm-{k}", bytes([k]) * 32, EpochKeyPair.generate().public_bytes) for k in (2, 3)]
    return (RosterEntry("firm-1", bytes(32), secret.begin(epoch, SIGNER).public_bytes), *others)


def filled(secret: RoundSecrets, epoch: int) -> Kept:
    """One epoch's secrets of every kind."""
    entries = roster(secret, epoch)
    secret.keep_roster(epoch, entries)
    pairs = PairSecrets("timber", epoch, entries[0])
    for entry in entries[1:]:
        pairs.add(entry, secrets.token_bytes(32))
    secret.keep_pairs(epoch, pairs)
    session = Session("timber", epoch, ROUND, entries, bytes(32), 4, 24, 3, 1.0)
    kept = Kept(session, "firm-1", b"header", b"\x07" * 32)
    secret.keep_round(ROUND, kept)
    return kept


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "masking"


def opened(folder: Path | None, now_s: float = NOW_S) -> RoundSecrets:
    return RoundSecrets(folder, secrets.token_bytes, lambda: now_s, 30)


def test_files_are_for_their_owner_only(folder: Path) -> None:
    filled(opened(folder), 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert names.keys() == {"epoch-1.key", "epoch-1.pairs", "epoch-1.roster", "round.kept", "wrapping.key"}
    assert set(names.values()) == {0o600}


def test_files_are_encrypted(folder: Path) -> None:
    secret = opened(folder)
    kept = filled(secret, 1)
    raw = b"".join(path.read_bytes() for path in folder.iterdir() if path.name != "wrapping.key")
    for hidden in (kept.own_share, secret.epoch_keys(1).private_bytes, b"firm-2", b"timber"):
        assert hidden not in raw


def test_a_new_process_has_them_all(folder: Path) -> None:
    first = opened(folder)
    kept = filled(first, 1)
    again = opened(folder)
    assert again.epoch_keys(1).private_bytes == first.epoch_keys(1).private_bytes
    assert again.roster(1) == first.roster(1)
    assert again.has_pairs(1)
    assert again.pairs(1).peers == ("firm-2", "firm-3")
    assert again.pairs(1).mask_seed(kept.session, "firm-2") == first.pairs(1).mask_seed(kept.session, "firm-2")
    assert again.has_round(ROUND)
    assert again.kept_round(ROUND) == kept


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_new_epoch_ends_the_old_one(folder: Path, on_disk: bool) -> None:
    secret = opened(folder if on_disk else None)
    filled(secret, 1)
    pairs = secret.pairs(1)
    wrapping = (folder / "wrapping.key").read_bytes() if on_disk else b""
    secret.begin(2, SIGNER)
    assert pairs.peers == ()
    for one in (secret, opened(folder)) if on_disk else (secret,):
        assert not one.has_pairs(1)
        assert not one.has_round(ROUND)
        for ask in (one.epoch_keys, one.pairs, one.roster):
            with pytest.raises(KeySetupRefused, match="epoch 1"):
                ask(1)
        with pytest.raises(KeySetupRefused, match="holds nothing to open it with"):
            one.kept_round(ROUND)
    if on_disk:
        assert {path.name for path in folder.iterdir()} == {"ended", "epoch-2.key", "wrapping.key"}
        assert (folder / "wrapping.key").read_bytes() != wrapping


def test_a_backup_of_an_ended_epoch_does_not_open(folder: Path) -> None:
    """Attack: the sealed files are put back after the epoch; their wrapping key is gone."""
    filled(opened(folder), 1)
    backup = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "wrapping.key"}
    opened(folder).begin(2, SIGNER)
    (folder / "epoch-2.key").unlink()
    for name, raw in backup.items():
        (folder / name).write_bytes(raw)
    secret = opened(folder)
    for ask in (secret.epoch_keys, secret.pairs, secret.roster):
        with pytest.raises(KeySetupRefused):
            ask(1)
    with pytest.raises(KeySetupRefused):
        secret.kept_round(ROUND)


@pytest.mark.parametrize("name", ["epoch-1.key", "epoch-1.pairs", "epoch-1.roster", "round.kept"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "swap"])
def test_a_tampered_file_is_refused(folder: Path, name: str, damage: str) -> None:
    filled(opened(folder), 1)
    path = folder / name
    raw = path.read_bytes()
    other = next(folder / one for one in ("epoch-1.roster", "epoch-1.key") if one != name)
    changed = {"flip": raw[:-1] + bytes([raw[-1] ^ 1]), "cut": raw[:-1], "empty": b"", "swap": other.read_bytes()}
    path.write_bytes(changed[damage])
    secret = opened(folder)
    asks = {"epoch-1.key": secret.epoch_keys, "epoch-1.pairs": secret.pairs, "epoch-1.roster": secret.roster}
    with pytest.raises(KeySetupRefused) as caught:
        asks[name](1) if name in asks else secret.kept_round(ROUND)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"short", bytes(32)])
def test_another_wrapping_key_opens_nothing(folder: Path, raw: bytes) -> None:
    filled(opened(folder), 1)
    (folder / "wrapping.key").write_bytes(raw)
    secret = opened(folder)
    for ask in (secret.epoch_keys, secret.pairs, secret.roster):
        with pytest.raises(KeySetupRefused):
            ask(1)


def test_only_the_last_round_is_kept(folder: Path) -> None:
    secret = opened(folder)
    kept = filled(secret, 1)
    later = bytes(16)
    secret.keep_round(later, Kept(replace(kept.session, round_id=later), "firm-1", b"header", bytes(32)))
    for one in (secret, opened(folder)):
        assert not one.has_round(ROUND)


def test_nothing_was_set_up(folder: Path) -> None:
    secret = opened(folder)
    for ask in (secret.epoch_keys, secret.pairs, secret.roster):
        with pytest.raises(KeySetupRefused, match="begin with the key messages"):
            ask(1)


def test_in_memory_nothing_touches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secret = opened(None)
    kept = filled(secret, 1)
    assert secret.kept_round(ROUND) == kept
    assert list(tmp_path.iterdir()) == []


def test_the_write_is_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = opened(folder)
    kept = filled(secret, 1)

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        secret.keep_round(ROUND, Kept(kept.session, "firm-1", b"other", bytes(32)))
    monkeypatch.undo()
    assert opened(folder).kept_round(ROUND) == kept
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("ask", [RoundSecrets.epoch_keys, RoundSecrets.pairs, RoundSecrets.roster])
@pytest.mark.parametrize(("good", "bad"), [(30, 30.01), (30, 3000), (-1, -1.01)])
def test_secrets_older_than_agreed_are_destroyed_instead_of_used(folder: Path, ask: Any, good: int, bad: float) -> None:
    """Also by a clock that was set back by days: it cannot tell an age."""
    filled(opened(folder), 1)
    assert ask(opened(folder, NOW_S + good * 86_400), 1)
    with pytest.raises(EpochEnded, match=r"days ago, this firm's limit is 30; begin a new one"):
        ask(opened(folder, NOW_S + bad * 86_400), 1)
    assert [path.name for path in folder.iterdir()] == ["ended"]


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_an_operator_ends_stays_ended(folder: Path, on_disk: bool) -> None:
    secret = opened(folder if on_disk else None)
    assert secret.end() is None
    filled(secret, 3)
    files = ("epoch-3.key", "epoch-3.pairs", "epoch-3.roster", "round.kept", "wrapping.key")
    assert secret.end() == Ended(3, files if on_disk else ())
    assert secret.end() is None
    for one in (secret, opened(folder)) if on_disk else (secret,):
        assert one.current() is None
        for ask in (one.epoch_keys, one.pairs, one.roster, lambda epoch, one=one: one.begin(epoch, SIGNER)):
            for epoch in (1, 3):
                with pytest.raises(EpochEnded, match="has ended"):
                    ask(epoch)
    filled(opened(folder), 4)


def test_a_process_that_is_overtaken_writes_nothing_readable(folder: Path) -> None:
    """The operator ends the epoch while the client handles a message."""
    busy = opened(folder)
    kept = filled(busy, 1)
    pairs = busy.pairs(1)
    opened(folder).end()
    for write in (lambda: busy.keep_round(ROUND, kept), lambda: busy.keep_pairs(1, pairs)):
        with pytest.raises(KeySetupRefused, match="they were destroyed; begin a new epoch"):
            write()
    assert [path.name for path in folder.iterdir()] == ["ended"]


def test_a_crash_while_an_epoch_ends_leaves_nothing_that_opens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(opened(folder), 1)
    gone: list[str] = []
    unlink = Path.unlink

    def crash(path: Path) -> None:
        if gone:
            raise KeyboardInterrupt
        gone.append(path.name)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", crash)
    with pytest.raises(KeyboardInterrupt):
        opened(folder).end()
    monkeypatch.undo()
    assert gone == ["wrapping.key"]
    for ask in (opened(folder).epoch_keys, opened(folder).pairs, opened(folder).roster):
        with pytest.raises(EpochEnded):
            ask(1)
    ended = opened(folder).end()
    assert ended is not None
    assert [path.name for path in folder.iterdir()] == ["ended"]


def test_a_note_of_the_last_epoch_that_is_no_number_is_refused(folder: Path) -> None:
    filled(opened(folder), 1)
    opened(folder).end()
    (folder / "ended").write_bytes(b"?")
    with pytest.raises(KeySetupRefused, match="not a number"):
        opened(folder).begin(2, SIGNER)
