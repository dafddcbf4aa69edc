"""A firm's set: what waits for admission, and the way through a proxy."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

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


def test_metrics_run_where_firm_toml_names_a_port(tmp_path: Path) -> None:
    config = tmp_path / "firm.toml"
    for text in ("", "member = 1\n", "[metrics\n", "[metrics]\nport = 0\n"):
        config.write_text(text)
        assert "metrics" not in programs(tmp_path)
    config.write_text("member = 1\n\n[metrics]\nport = 9466\n")  # its executor says what is wrong
    metrics = programs(tmp_path)["metrics"]
    assert "--configured" in metrics.command
    assert (metrics.essential, metrics.reads) == (False, (config,))
    assert set(metrics.after) == {tmp_path / name for name in ("tls.crt", "policy.txt", "ledger.toml")}


def test_the_port_is_the_one_of_firm_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("clients.metrics_commands.export", lambda _, port, __: asked.append(port))

    def metrics(*more: str) -> int:
        done = CliRunner().invoke(app, ["firm", "metrics", "--home", str(tmp_path), *more])
        return done.exit_code

    assert (metrics(), metrics("--configured")) == (0, 2)
    (tmp_path / "firm.toml").write_text("[metrics]\nport = 9466\n")
    assert (metrics("--configured"), metrics(), metrics("--port", "9467")) == (0, 0, 0)
    assert asked == [9465, 9466, 9466, 9467]


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
