"""What nodes are called that have not said whose they are: asked once, and of a SuperLink that is there."""

from pathlib import Path

import pytest

from server.engines import EngineUnreachable
from server.engines.control import Node
from server.engines.flower_control import FlowerControl
from server.network import Network
from server.node_names import Labels, no_names, registered_names


def test_nodes_are_called_by_the_names_of_their_keys_and_others_by_their_numbers() -> None:
    known, asked = {7: "firm-1", 8: ""}, []

    def names() -> dict[int, str]:
        asked.append(1)
        return dict(known)

    labels = Labels(names)
    assert asked == []
    assert [labels.of(node) for node in (7, 8, 9)] == ["firm-1", "node 8", "node 9"]
    known[9] = "firm-2"
    assert labels.of(9) == "node 9"
    assert len(asked) == 1
    labels.forget()
    assert labels.of(9) == "firm-2"
    assert len(asked) == 2
    assert Labels(no_names).of(7) == "node 7"


def test_superlink_is_asked_where_one_ran_and_its_silence_leaves_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [Node("firm-1", 7, True, None), Node("", 8, True, None)]
    monkeypatch.setattr(FlowerControl, "nodes", lambda _: nodes)
    names = registered_names(tmp_path, Network())
    assert names() == {}
    assert not list(tmp_path.iterdir())  # a simulation's home stays as it is
    (tmp_path / "flower").mkdir()
    (tmp_path / "flower" / "state.db").touch()
    assert names() == {7: "firm-1"}

    def down(_: FlowerControl) -> list[Node]:
        raise EngineUnreachable("SuperLink does not answer")

    monkeypatch.setattr(FlowerControl, "nodes", down)
    assert names() == {}
    assert "named by their numbers: SuperLink does not answer" in caplog.text
