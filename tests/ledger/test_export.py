"""An exported directory is a whole copy: rebuilt anywhere, believed by nobody, good after any interruption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from consortium_simulator import CID, Consortium

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.continuation import continue_log
from ledger.errors import LedgerError
from ledger.export import Exported, ExportError, export, tile_path
from ledger.log import Log
from ledger.merkle import leaf_hash, root_of
from ledger.mirror import Mirror
from ledger.rules import COORDINATOR
from ledger.source import Misbehaviour, WitnessRefusal
from ledger.store import Store


class World:
    def __init__(self, folder: Path) -> None:
        self.made = Consortium(location=folder / "ledger.db")
        self.place = folder / "ledger.db"
        self.copy = folder / "copy"

    def attest(self, count: int = 1) -> None:
        made = self.made
        made.log.append([made.statement("attest", "firm-0", subject="s", artifact=made.hash()) for _ in range(count)])
        made.log.checkpoint()

    def export(self, copy: Path | None = None) -> tuple[int, int, int]:
        done = export(Store(self.place, read_only=True), copy or self.copy)
        return done.size, done.new, done.files

    def mirror(self, location: Path | None = None) -> Mirror:
        return Mirror(location, self.made.log.vkey, CID, self.made.clock)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_everything_is_rebuilt_elsewhere(world: World, tmp_path: Path) -> None:
    world.attest(600)
    world.made.cosign()
    world.attest(1)
    assert world.export()[:2] == (607, 607)
    exported = Exported(world.copy)
    with world.mirror(tmp_path / "rebuilt.db") as mirror:
        mirror.rebuild(exported)
        assert (mirror.size, mirror.root) == (world.made.log.size, world.made.log.root)
        assert mirror.final_size == 606
        assert mirror.entries(0, 607) == world.made.log.entries(0, 607)
    assert exported.facts["cid"] == CID
    assert exported.facts["vkey"] == str(world.made.log.vkey)


@pytest.mark.parametrize("steps", [[1, 1, 1], [250, 1, 249], [506, 256, 1], [1, 700]])
def test_only_what_is_new_is_written(world: World, steps: list[int]) -> None:
    for number, step in enumerate(steps):
        world.attest(step)
        size, new, _ = world.export()
        assert new == step + (6 if number == 0 else 0)
        mirror = world.mirror()
        mirror.follow(Exported(world.copy))
        assert (mirror.size, mirror.root) == (size, world.made.log.root)
    assert world.export()[1:] == (0, 0)
    fresh = world.copy.with_name("fresh")
    world.export(fresh)
    kept = {file.relative_to(world.copy) for file in world.copy.rglob("*") if file.is_file()}
    assert {file.relative_to(fresh) for file in fresh.rglob("*") if file.is_file()} == kept


def test_new_cosignatures_are_written_too(world: World) -> None:
    world.attest()
    world.export()
    world.made.cosign()
    size, new, files = world.export()
    assert (new, files) == (0, 2)
    mirror = world.mirror()
    mirror.follow(Exported(world.copy))
    assert mirror.final_size == size


def test_a_mirror_is_exported_like_a_log(world: World, tmp_path: Path) -> None:
    world.attest(300)
    place = tmp_path / "mirror.db"
    with world.mirror(place) as mirror:
        mirror.follow(world.made.log)
        export(Store(place, read_only=True), tmp_path / "of mirror")
    world.export()
    ours = {file.relative_to(world.copy): file.read_bytes() for file in world.copy.rglob("*") if file.is_file()}
    other = tmp_path / "of mirror"
    theirs = {file.relative_to(other): file.read_bytes() for file in other.rglob("*") if file.is_file()}
    assert {path: raw for path, raw in theirs.items() if path.parts[0] != "checkpoints"} == {
        path: raw for path, raw in ours.items() if path.parts[0] != "checkpoints"
    }


def test_paths_are_those_of_tlog_tiles(world: World) -> None:
    assert [tile_path(index) for index in (0, 67, 1234067)] == ["000", "067", "x001/x234/067"]
    world.attest(300)
    world.export()
    names = {str(file.relative_to(world.copy)) for file in world.copy.rglob("*") if file.is_file()}
    expected = {"tile/0/000", "tile/0/001.p/50", "tile/1/000.p/1", "entries/000", "entries/001.p/50"}
    assert names == {*expected, "checkpoint", "checkpoints/306", "ledger.json"}


def test_another_history_is_not_mixed_in(world: World, tmp_path: Path) -> None:
    world.attest(3)
    world.export()
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    other.attest(2)
    with pytest.raises(ExportError, match="another history"):
        other.export(world.copy)
    mirror = world.mirror()
    mirror.follow(Exported(world.copy))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "letter.txt").write_text("mine")
    with pytest.raises(ExportError, match="other files"):
        world.export(tmp_path / "files")


def test_every_changed_file_is_found(world: World, tmp_path: Path) -> None:
    world.attest(300)
    world.made.cosign()
    world.export()
    checked = 0
    for file in sorted(path for path in world.copy.rglob("*") if path.is_file()):
        name = file.relative_to(world.copy)
        if name.parts[0] == "tile" or name.name == "ledger.json":
            continue  # tiles only make proofs, the facts are only to be compared
        for place in (0, file.stat().st_size // 2, file.stat().st_size - 2):
            broken = tmp_path / "broken"
            shutil.copytree(world.copy, broken)
            raw = bytearray(file.read_bytes())
            raw[place] ^= 1
            (broken / name).write_bytes(raw)
            mirror = world.mirror()
            try:
                mirror.rebuild(Exported(broken))
            except LedgerError:
                assert mirror.evidence() == [] or mirror.evidence()[0][0] == "notes"
            else:
                assert (mirror.size, mirror.root) == (306, world.made.log.root)
                assert name.parts[0].startswith("checkpoint")  # a cosignature that nobody made counts for nothing
            shutil.rmtree(broken)
            checked += 1
    assert checked >= 12


def test_changed_tiles_make_no_wrong_proof(world: World) -> None:
    world.attest(300)
    world.export()
    for file in world.copy.glob("tile/**/*"):
        if file.is_file():
            raw = bytearray(file.read_bytes())
            raw[5] ^= 1
            file.write_bytes(raw)
    mirror = world.mirror()
    mirror.advance(world.made.log.entries(0, 6), note_of(world, 6), [])
    with pytest.raises(WitnessRefusal):
        mirror.follow(Exported(world.copy))
    assert mirror.size == 6


def note_of(world: World, size: int) -> str:
    root = root_of(leaf_hash(raw) for raw in world.made.log.entries(0, size))
    return sign_checkpoint(Checkpoint(world.made.log.origin, size, root), world.made.keys[COORDINATOR])


def test_what_is_no_copy_is_refused_in_one_line(world: World, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="whole copy"):
        Exported(tmp_path / "nothing")
    world.attest(2)
    world.export()
    (world.copy / "ledger.json").write_text(json.dumps({"v": 2}))
    with pytest.raises(ExportError, match="version"):
        Exported(world.copy)
    (world.copy / "ledger.json").write_text("{")
    with pytest.raises(ExportError, match="JSON"):
        Exported(world.copy)


def test_a_file_with_a_strange_name_is_no_checkpoint(world: World) -> None:
    world.attest()
    world.export()
    known = list(Exported(world.copy).notes())
    for name in ("\N{SUPERSCRIPT TWO}", "9" * 200, "-1"):
        (world.copy / "checkpoints" / name).write_text("")
    assert list(Exported(world.copy).notes()) == known


def test_a_missing_bundle_is_named(world: World) -> None:
    world.attest(300)
    world.export()
    (world.copy / "entries" / "000").unlink()
    with pytest.raises(ExportError, match="entries/000"):
        world.mirror().follow(Exported(world.copy))


def test_a_fork_in_a_copy_is_proved(world: World, tmp_path: Path) -> None:
    world.attest(2)
    mirror = world.mirror()
    mirror.follow(world.made.log)
    (tmp_path / "fork").mkdir()
    fork = World(tmp_path / "fork")
    fork.made.append("attest", "firm-2", subject="other", artifact=fork.made.hash())
    fork.attest(4)
    fork.export()
    with pytest.raises(Misbehaviour, match="fork"):
        mirror.follow(Exported(fork.copy))


EXPORTER = """
import sys
from ledger.export import export
from ledger.store import Store
print("ready", flush=True)
export(Store(sys.argv[1], read_only=True), sys.argv[2])
"""


@pytest.mark.integration
def test_a_killed_export_leaves_the_old_copy_good(world: World) -> None:
    world.attest(10)
    world.export()
    old = world.made.log.size
    world.attest(5000)
    killed = 0
    for attempt in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", EXPORTER, str(world.place), str(world.copy)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.004 * attempt)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        process.stdout.close()
        mirror = world.mirror()
        mirror.rebuild(Exported(world.copy))
        assert mirror.size in (old, world.made.log.size)
    assert killed >= 3
    world.export()
    mirror = world.mirror()
    mirror.rebuild(Exported(world.copy))
    assert mirror.root == world.made.log.root


def test_a_log_goes_on_from_its_own_copy(world: World, tmp_path: Path) -> None:
    world.attest(300)
    world.made.cosign()
    world.export()
    world.made.log.close()
    key = world.made.keys[COORDINATOR]
    founded = world.made.log.vkey
    place = tmp_path / "restored.db"
    with continue_log(place, Exported(world.copy), key, founded=founded, cid=CID, clock=world.made.clock) as log:
        assert (log.size, log.root, log.final_size) == (306, world.made.log.root, 306)
    with Log.open(place, key, world.made.clock) as again:
        assert again.size == 306
