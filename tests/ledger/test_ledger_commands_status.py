"""`artesian ledger status`: what an operator and a monitor ask; the exit code says whether all is well."""

import socket
from pathlib import Path

import pytest
from command_world import MEMBERS, Homes, done, facts, refused, run

from ledger.health import health_of


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return Homes.witnessed(tmp_path_factory.mktemp("homes"))


@pytest.fixture
def homes(founded: Homes, tmp_path: Path) -> Homes:
    return founded.copied(tmp_path)


def attest(homes: Homes, number: int) -> None:
    file = homes.folder / f"{number}.txt"
    file.write_text(f"crate {number}")
    done("attest", "--home", homes["firm-2"], "--subject", "s", "--file", file, "--wait", 0)


def behind(status: dict[str, object]) -> dict[str, int]:
    witnesses = status["witnesses"]
    assert isinstance(witnesses, list)
    return {one["member"]: one["behind"] for one in witnesses}


def test_all_is_well(homes: Homes) -> None:
    with homes.served() as address:
        for where in (["--address", address], ["--home", homes["bank-1"]]):
            status = facts("status", *where)
            assert (status["ok"], status["origin"]) == (True, "artesian/c-1")
            assert [status[name] for name in ("size", "checkpoint_size", "final_size", "audited")] == [5] * 4
            assert (status["waiting_s"], status["promise_s"], behind(status)) == (0.0, 60.0, dict.fromkeys(MEMBERS, 0))
        said = done("status", "--address", address)
    assert "artesian/c-1: 5 entries, 5 under the newest checkpoint, 5 final." in said
    assert "5 of 5 entries audited since the start." in said
    assert "bank-1           cosigned       5  up to date" in said


def test_a_witness_that_is_away_is_seen_before_it_is_missed(homes: Homes) -> None:
    with homes.served() as address:
        attest(homes, 1)
        homes.witness(MEMBERS[:3])
        attest(homes, 2)
        status = facts("status", "--address", address)
    assert behind(status) == {"firm-1": 1, "firm-2": 1, "firm-3": 1, "bank-1": 2}
    assert (status["size"], status["final_size"], status["ok"]) == (7, 6, True)
    assert 0 <= status["waiting_s"] < 60
    assert "bank-1           cosigned       5  2 behind" in done("status", "--home", homes.coordinator)


def test_what_waits_for_longer_than_the_promise_is_exit_code_1(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    with homes.served() as address:
        attest(homes, 1)
        late = lambda *known: health_of(*known[:4], known[4] + 61, known[5])  # noqa: E731
        monkeypatch.setattr("ledger.log.health_of", late)
        status = facts("status", "--address", address, code=1)
        assert (status["ok"], 61 <= status["waiting_s"] < 120) == (False, True)
        code, said, _ = run("status", "--home", homes["firm-1"])
    assert (code, "The oldest entry that is not final, 5, has waited 6" in said) == (1, True)
    assert facts("status", "--home", homes.coordinator)["ok"]
    assert facts("status", "--home", homes.coordinator, "--promise-s", 0, code=1)["final_size"] == 5


def test_a_sequencers_database_is_read_without_its_service(homes: Homes) -> None:
    status = facts("status", "--home", homes.coordinator)
    assert (status["ok"], status["size"], status["final_size"], status["audited"]) == (True, 5, 5, None)
    assert behind(status) == dict.fromkeys(MEMBERS, 0)


def test_nobody_answers(homes: Homes) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "127.0.0.1" in refused("status", "--address", f"127.0.0.1:{taken.getsockname()[1]}", code=3)
    assert "give --address" in refused("status")
    (homes["firm-1"] / "ledger.toml").unlink()
    assert "holds a mirror" in refused("status", "--home", homes["firm-1"])
