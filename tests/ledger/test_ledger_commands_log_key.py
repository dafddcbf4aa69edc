"""`artesian ledger members rotate-log`, `members propose log-key`: the log's next key, also after a handover."""

from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused

QUORUM = MEMBERS[:3]


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    """The log goes on in the home `sequencer`; the coordinator's home is what it was."""
    return Homes.handed_over(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(handed_over: Homes, tmp_path: Path) -> Homes:
    return handed_over.copied(tmp_path)


def log_of(homes: Homes) -> dict[str, object]:
    log = facts("members", "--home", homes["firm-1"])["log"]
    assert isinstance(log, dict)
    return log


def to_the_safe(homes: Homes) -> Path:
    safe = homes["safe"]
    safe.mkdir()
    return (homes.coordinator / "next-log.pem").rename(safe / "next-log.pem")


def test_the_handover_says_what_comes_next(handed_over: Homes) -> None:
    said, home = (handed_over.folder / "start.txt").read_text(), handed_over.coordinator
    steps = [
        f"artesian ledger serve --home {home} --address HOST:PORT",
        "artesian ledger witness --home HOME --address HOST:PORT",
        f"artesian ledger policy --home {home} --write",
        f"{home}/next-log.pem to a safe place",
        f"artesian ledger members rotate-log --home {home} --key SAFE/next-log.pem --signer COORDINATOR-HOME",
        f"artesian ledger members propose log-key --home {home} --out",
    ]
    places = [said.index(step) for step in steps]
    assert places == sorted(places)


def test_after_a_handover_the_coordinator_takes_the_next_key_into_use(homes: Homes) -> None:
    before, key = log_of(homes), to_the_safe(homes)
    rotate = ["members", "rotate-log", "--home", homes.coordinator]
    assert "give --key" in refused(*rotate)
    assert "the coordinator's home as --signer" in refused(*rotate, "--key", key)
    wrong = refused(*rotate, "--key", key, "--signer", homes["firm-2"])
    assert "firm-2 is not the coordinator" in wrong
    assert f"members propose log-key --home {homes.coordinator}" in wrong
    changed = facts(*rotate, "--key", key, "--signer", homes["coordinator"])
    homes.make_final()
    after = log_of(homes)
    assert after["fingerprint"] == changed["fingerprint"] != before["fingerprint"]
    assert not key.exists()
    key = (homes.coordinator / "next-log.pem").rename(key)  # the key after it has been committed to: again
    again = facts(*rotate, "--key", key, "--signer", homes["coordinator"])
    assert again["fingerprint"] == changed["next"]
    homes.make_final()
    assert facts("audit", "--home", homes.coordinator)["ok"]


def test_after_a_handover_a_quorum_takes_the_next_key_into_use(homes: Homes, tmp_path: Path) -> None:
    """The coordinator's key went with its machine: what the errors say leads on, and not in a circle."""
    (homes["coordinator"] / "signing.pem").unlink()
    before, proposal = log_of(homes), tmp_path / "log-key.proposal"
    rotate = ["members", "rotate-log", "--home", homes.coordinator]
    refused(*rotate)
    asked = done("members", "propose", "log-key", "--home", homes.coordinator, "--out", proposal)
    assert f"Next: artesian ledger members approve {proposal}" in asked
    for name in QUORUM:
        said = done("members", "approve", proposal, "--home", homes[name], "--yes")
    assert f"artesian ledger members rotate-log --home SEQUENCER --proposal {proposal} --signer HOME" in said
    with homes.served():
        assert "rotate-log --home" in refused("members", "submit", proposal, "--home", homes["firm-1"])
    assert "any member's home as --signer" in refused(*rotate, "--proposal", proposal)
    changed = facts(*rotate, "--proposal", proposal, "--signer", homes["firm-1"])
    homes.make_final()
    assert log_of(homes)["fingerprint"] == changed["fingerprint"] != before["fingerprint"]
    assert log_of(homes)["next"] is not None
    assert facts("audit", "--home", homes.coordinator)["ok"]


def test_a_key_that_was_not_approved_is_not_taken(homes: Homes, tmp_path: Path) -> None:
    """Nothing is on the ledger when the keys in the home are not those of the proposal."""
    proposal, other = tmp_path / "log-key.proposal", tmp_path / "enrol.proposal"
    done("members", "propose", "log-key", "--home", homes.coordinator, "--out", proposal)
    done("members", "key", "--home", homes["firm-9"], "--member", "firm-9")
    block = homes["firm-9"] / "member.toml"
    done("members", "propose", "enrol", "--home", homes["firm-1"], "--from", block, "--out", other)
    for name in QUORUM:
        done("members", "approve", proposal, "--home", homes[name], "--yes")
    rotate = ["members", "rotate-log", "--home", homes.coordinator, "--signer", homes["firm-1"], "--proposal"]
    assert "gives the log no key" in refused(*rotate, other)
    following = homes.coordinator / "following-log.pem"
    moved = following.rename(tmp_path / "following.pem")
    assert "following-log.pem" in refused(*rotate, proposal)
    assert "not the key that" in refused(*rotate, proposal, "--key", moved)
    assert facts("show", "--home", homes.coordinator)["size"] == 6
    moved.replace(following)
    done(*rotate, proposal)


def test_a_change_of_key_that_broke_off_is_done_again(homes: Homes) -> None:
    """Of the files that change last, each state that a crash can leave is taken up."""
    rotate = ["members", "rotate-log", "--home", homes.coordinator, "--signer", homes["coordinator"]]
    changed = facts(*rotate)
    homes.make_final()
    next_key, own = homes.coordinator / "next-log.pem", homes.coordinator / "log.pem"
    following = homes.coordinator / "following-log.pem"
    next_key.rename(following)  # before the key after it was the next one
    next_key.write_bytes(own.read_bytes())
    next_key.chmod(0o600)
    assert facts(*rotate) == changed
    assert facts("show", "--home", homes.coordinator)["size"] == 7


def test_a_change_of_key_that_is_done_again_keeps_the_key_after_it(homes: Homes) -> None:
    """All was done but for the key in the safe: the ledger has committed to what is `next-log.pem` by then."""
    key = to_the_safe(homes)
    rotate = ["members", "rotate-log", "--home", homes.coordinator, "--key", key, "--signer", homes["coordinator"]]
    coming = key.read_bytes()
    changed = facts(*rotate)
    committed = (homes.coordinator / "next-log.pem").read_bytes()
    key.write_bytes(coming)
    key.chmod(0o600)
    assert facts(*rotate) == changed
    assert (homes.coordinator / "next-log.pem").read_bytes() == committed
    assert not key.exists()
    assert sorted(path.name for path in homes.coordinator.glob("following*")) == []


def test_only_the_sequencers_home_has_the_logs_keys(homes: Homes, tmp_path: Path) -> None:
    for command in (["propose", "log-key", "--out", tmp_path / "p"], ["rotate-log"]):
        assert "holds a mirror" in refused("members", *command, "--home", homes["firm-1"])
    assert sorted(path.name for path in homes["firm-1"].glob("*log*.pem")) == []
