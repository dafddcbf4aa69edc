"""A sequencer that comes back after the members have handed its log over: it must not serve, and is told the way on."""

import shutil
from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return Homes.handed_over(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(handed_over: Homes, tmp_path: Path) -> Homes:
    return handed_over.copied(tmp_path)


@pytest.fixture
def old(homes: Homes) -> Homes:
    """The same with the old sequencer's home in its place."""
    return Homes(homes.folder)


def test_a_copy_shows_it_before_anything_is_served(old: Homes, tmp_path: Path) -> None:
    copy, home = tmp_path / "copy", old.coordinator
    done("export", copy, "--home", old["firm-1"])
    for shown in (copy, old["bank-1"]):
        said = refused("serve", "--home", home, "--copy", old["firm-2"] / "mirror.db", "--copy", shown, code=1)
        assert "goes on elsewhere since entry 5" in said
        assert f"artesian ledger mirror COPY --home {home}" in said
    status = facts("handover", "status", old["firm-2"], "--home", home, code=1)
    assert status["replaced_by"] == facts("members", "--home", old["firm-1"])["log"]["fingerprint"]


def test_the_way_on_that_it_is_told(homes: Homes, old: Homes) -> None:
    """Its own mirror shows it, too; then the home is a plain mirror, which is brought up to date as any other is."""
    home = old.coordinator
    said = refused("serve", "--home", home, "--copy", old["firm-1"], code=1)
    moving, *commands = [line.strip() for line in said.partition("instead: ")[2].split(";")]
    assert facts("mirror", old["firm-1"], "--home", home)["final_size"] == 6
    assert refused("serve", "--home", home, code=1) == said  # now without a copy
    old_file, new_file = map(Path, moving.removeprefix("mv ").split())
    old_file.rename(new_file)
    for command in commands:
        done(*command.replace("COPY", str(old["firm-2"])).removeprefix("artesian ledger ").split())
    assert facts("audit", "--home", home)["final_size"] == 6
    assert "holds a mirror" in refused("serve", "--home", home)
    assert "needs a handover" in refused("restore", old["firm-2"], "--home", home, code=1)
    with homes.served() as address:
        where = ["--home", homes["firm-2"], "--address", address, "--wait", 0]
        done("attest", *where, "--subject", "s", "--file", homes.folder / "members.toml")
        assert facts("mirror", address, "--home", home)["size"] == 7


def test_nobody_is_taken_for_a_successor_that_is_none(homes: Homes, tmp_path: Path) -> None:
    """Not the log itself, not an earlier key of it in a copy that is behind, not a handover that is not final."""
    behind = Path(shutil.copytree(homes["bank-1"], tmp_path / "behind"))
    done("members", "rotate-log", "--home", homes.coordinator, "--signer", homes["coordinator"])
    with homes.served(MEMBERS[:3]):
        homes.witness(MEMBERS[:3])
    for copy in (behind, homes["firm-1"]):
        assert facts("handover", "status", copy, "--home", homes.coordinator)["replaced_by"] is None


def test_a_handover_that_is_not_final_stops_nobody(tmp_path: Path) -> None:
    """Nor does the home's own mirror that is behind a change of the log's key."""
    homes = Homes.witnessed(tmp_path / "homes")
    done("mirror", homes["firm-2"], "--home", homes.coordinator)
    done("members", "rotate-log", "--home", homes.coordinator)
    assert facts("handover", "status", "--home", homes.coordinator)["replaced_by"] is None
    homes.make_final()
    sequencer, proposal = homes["sequencer"], homes["handover.proposal"]
    done("handover", "propose", "--home", homes["firm-1"], "--to", sequencer, "--out", proposal)
    for name in MEMBERS[:3]:
        done("handover", "approve", proposal, "--home", homes[name], "--yes")
    done("handover", "start", proposal, "--home", homes["firm-1"], "--to", sequencer)
    with Homes(homes.folder, "sequencer").served(MEMBERS[:1]):
        pass
    assert facts("handover", "status", homes["firm-1"], "--home", homes.coordinator)["replaced_by"] is None
