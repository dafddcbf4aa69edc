"""A firm's set: what waits for admission, and the way through a proxy."""

from pathlib import Path

import click
import pytest

from artesian import app
from clients.connection import ConnectionInvalid
from clients.firm_programs import firm_programs
from clients.proxy import BadProxy, proxy_environment
from clients.supervision.program import Program, in_order

CONNECTION = """
member = "firm-1"
kind = "firm"
cid = "c"
enrolment = "example.org:8442"
ledger = "example.org:8445"
fleet = "example.org:8444"
authority_sha256 = "{hash}"
proxy = "{proxy}"
"""


def programs(home: Path, proxy: str = "") -> dict[str, Program]:
    (home / "connection.toml").write_text(CONNECTION.format(hash="0" * 64, proxy=proxy))
    return {one.name: one for one in firm_programs(home)}


def test_only_what_fetches_the_admission_starts_before_it(tmp_path: Path) -> None:
    found = programs(tmp_path)
    assert {name for name, one in found.items() if not one.after} == {"renewal"}
    assert {one.after_words for one in found.values() if one.after} == {"this firm to be admitted"}
    assert [one.name for one in in_order(list(found.values()))] == ["renewal", "witness", "supernode", "executor"]


def test_they_go_through_the_proxy_but_not_to_each_other(tmp_path: Path) -> None:
    for one in programs(tmp_path, "http://proxy.example:3128").values():
        assert one.environment["https_proxy"] == one.environment["HTTPS_PROXY"] == "http://proxy.example:3128"
        assert "127.0.0.1" in one.environment["no_proxy"]
    assert all("https_proxy" not in one.environment for one in programs(tmp_path).values())


@pytest.mark.parametrize("proxy", ["proxy.example:3128", "https://a:1", "http://a", "http://a:b", "http://:1", "x"])
def test_what_is_no_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(BadProxy, match="proxy: "):
        proxy_environment(proxy)


def test_what_they_start_is_there(tmp_path: Path) -> None:
    for one in programs(tmp_path).values():
        if one.command[1:3] == ("-m", "artesian"):
            group = app.resolve_command(click.Context(app), [one.command[3]])[1]
            command = getattr(group, "commands", {})[one.command[4]]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in one.command if word.startswith("--")} <= known


def test_a_home_that_has_not_joined_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConnectionInvalid, match=r"connection\.toml"):
        firm_programs(tmp_path)
