"""Old and new programs in one federation: neighbours train the same model, and what is too far apart is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from federation_world import Meddler, federation, opened, train, training
from flwr.app import Context, Message

from clients import taking
from clients.app import HANDLERS, make_app
from clients.dialect import SPOKEN, Added, Dialect
from clients.disclosure import Leaving, leave
from clients.grounds import GROUNDS, Ground, Why
from clients.messages import HELLO, LOWEST, OPEN, RELEASE, REPLIES, REQUESTS, TRAIN, version_of
from clients.versions import Span
from server import rounds
from server.cohort import Cohort, RunFailed

WEATHER = "query.weather"
OLD = SPOKEN
NEW = Dialect(
    Span(1, 2),
    {**REQUESTS, OPEN: {**REQUESTS[OPEN], "reason": str}, WEATHER: {"place": str}},
    {**REPLIES, RELEASE: {**REPLIES[RELEASE], "kept": int}, WEATHER: {"degrees": int}},
    (Added(2, frozenset({WEATHER}), {OPEN: {"reason": ""}}, {RELEASE: {"kept": 0}}),),
)
FAR = replace(NEW, span=Span(2, 3), added=(*NEW.added, Added(3)))
OF_PROTOCOL = Ground(Why.PROTOCOL, "for the test")
NEW_GROUNDS = {
    **GROUNDS,
    RELEASE: {**GROUNDS[RELEASE], "kept": OF_PROTOCOL},
    WEATHER: {"degrees": OF_PROTOCOL},
}


class Firms:
    """The firms' app: each firm runs its own release. Notes which version each message was in, both ways."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, dialects: Mapping[str, Dialect]) -> None:
        self._patch = monkeypatch
        handlers = {**HANDLERS, RELEASE: self._deliver, WEATHER: self._weather}
        self._apps = {
            member: make_app(dialect) if dialect is OLD else make_app(dialect, handlers)
            for member, dialect in dialects.items()
        }
        self.seen: set[tuple[str, str, int, int]] = set()
        self.reasons: list[str] = []

    def __call__(self, message: Message, context: Context) -> Message:
        kind, member = message.metadata.message_type, Path(str(context.node_config["home"])).name
        reply = self._apps[member](message, context)
        self.seen.add((member, kind, version_of(message.content), version_of(reply.content)))
        return reply

    def _leave(self, kind: str, fields: Mapping[str, Any]) -> Leaving:
        with self._patch.context() as patch:
            patch.setattr("clients.disclosure.GROUNDS", NEW_GROUNDS)
            patch.setattr("clients.grounds.GROUNDS", NEW_GROUNDS)
            return leave(kind, fields)

    def _deliver(self, firm: Any, request: Mapping[str, Any]) -> Leaving:
        return self._leave(RELEASE, {**taking.deliver(firm, request), "kept": 0})

    def _weather(self, firm: Any, request: Mapping[str, Any]) -> Leaving:
        return self._leave(WEATHER, {"degrees": len(request["place"])})


class NewCoordinator(Cohort):
    """A coordinator of the newer release: it gives a reason with each opening, and asks for the weather."""

    spoken, reason = NEW, ""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, spoken=self.spoken, **named)
        self.degrees: dict[str, int] = {}

    def meet(self, *given: Any) -> None:
        super().meet(*given)
        asked = self.ask(WEATHER, {member: {"place": "here"} for member in self.witnesses}, 0)
        self.degrees = {member: reply["degrees"] for member, reply in asked}

    def ask(self, kind: str, requests: Any, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
        if kind == OPEN:
            requests = {member: {**request, "reason": self.reason} for member, request in requests.items()}
        for member, reply in super().ask(kind, requests, number):
            assert kind != RELEASE or reply["kept"] == 0  # an older firm's reply means the same
            yield member, reply


class FarCoordinator(NewCoordinator):
    """One of two releases later."""

    spoken = FAR


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The model of a federation of today's releases."""
    built = federation(tmp_path_factory.mktemp("today") / "f", 4, training(1))
    with opened(built) as coordinator:
        return train(built, coordinator).model


@pytest.mark.parametrize("new_coordinator", [False, True], ids=["old coordinator", "new coordinator"])
@pytest.mark.parametrize("new", [(), ("firm-2", "firm-4"), ("firm-1", "firm-2", "firm-3", "firm-4")], ids=str)
def test_neighbours_train_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: bytes, new: tuple[str, ...], new_coordinator: bool
) -> None:
    built = federation(tmp_path / "f", 4, training(1))
    firms = Firms(monkeypatch, {name: NEW if name in new else OLD for name in built.firms})
    cohorts: list[Cohort] = []
    made = NewCoordinator if new_coordinator else Cohort
    monkeypatch.setattr(rounds, "Cohort", lambda *given, **named: cohorts.append(made(*given, **named)) or cohorts[-1])
    with opened(built) as coordinator:
        assert train(built, coordinator, app=firms).model == expected
    both = set(new) if new_coordinator else set()
    assert {kind for _, kind, _, _ in firms.seen} >= {HELLO, TRAIN, OPEN, RELEASE}
    for member, kind, asked, answered in firms.seen:
        assert (asked, answered) == ((2, 2) if member in both and kind != HELLO else (1, 1)), (member, kind)
    (cohort,) = cohorts
    told = {who for _, who, why in cohort.refusals if "VersionMismatch: query.weather needs" in why}
    if isinstance(cohort, NewCoordinator):
        assert cohort.degrees == dict.fromkeys(sorted(both), 4)
        assert told == set(built.firms) - both
    assert len(cohort.refusals) == len(told)


def test_what_an_older_program_would_miss_is_not_sent_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = federation(tmp_path / "f", 4, training(1))
    firms = Firms(monkeypatch, dict.fromkeys(built.firms, OLD))
    monkeypatch.setattr(NewCoordinator, "reason", "an audit")
    monkeypatch.setattr(rounds, "Cohort", NewCoordinator)
    with opened(built) as coordinator, pytest.raises(RunFailed, match="reason needs messages"):
        train(built, coordinator, app=firms)
    assert OPEN not in {kind for _, kind, _, _ in firms.seen}


@pytest.mark.parametrize(
    ("made", "dialect", "older"),
    [(FarCoordinator, OLD, "firm-1 (artesian"), (Cohort, FAR, "the coordinator (artesian")],
    ids=["firms are old", "coordinator is old"],
)
def test_two_releases_apart_is_refused_by_name_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: type[Cohort], dialect: Dialect, older: str
) -> None:
    built = federation(tmp_path / "f", 4, training(1))
    firms = Firms(monkeypatch, dict.fromkeys(built.firms, dialect))
    monkeypatch.setattr(rounds, "Cohort", made)
    with opened(built) as coordinator, pytest.raises(RunFailed, match="no firm takes part") as told:
        train(built, coordinator, app=firms)
    said = str(told.value)
    assert "VersionMismatch: firm-1 (artesian " in said
    assert "the coordinator (artesian " in said
    assert f"upgrade {older}" in said
    assert {kind for _, kind, _, _ in firms.seen} == {HELLO}


def test_one_firm_that_is_too_old_is_left_out_and_the_others_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = federation(tmp_path / "f", 4, training(1))
    firms = Firms(monkeypatch, {name: OLD if name == "firm-3" else FAR for name in built.firms})
    cohorts: list[Cohort] = []
    monkeypatch.setattr(
        rounds, "Cohort", lambda *given, **named: cohorts.append(FarCoordinator(*given, **named)) or cohorts[-1]
    )
    with opened(built) as coordinator:
        train(built, coordinator, app=firms)
    assert cohorts[0].members == ["firm-1", "firm-2", "firm-4"]
    assert [why.partition(":")[0] for _, who, why in cohorts[0].refusals] == ["VersionMismatch"]


def test_a_message_of_a_version_that_the_firm_does_not_speak_is_refused(tmp_path: Path) -> None:
    """A firm that went back to an older release in the middle of a run."""
    built = federation(tmp_path / "f", 4, training(1))

    def newer(kind: str, member: str, message: Message) -> None:
        if (kind, member) == (TRAIN, "firm-2"):
            record = message.content.config_records["artesian"]
            raw = record["message"]
            assert isinstance(raw, bytes)
            record["message"] = raw.replace(b"\x61v\x01", b"\x61v\x02", 1)

    with opened(built) as coordinator, pytest.raises(RunFailed) as told:
        train(built, coordinator, app=Meddler(before=newer))
    said = "VersionMismatch: train.update: it is of version 2, this firm speaks 1: upgrade this firm"
    assert said in str(told.value)


@pytest.mark.parametrize("kind", sorted(REQUESTS.keys() - {HELLO}))
@pytest.mark.parametrize("side", ["request", "reply"])
def test_an_older_message_read_as_a_newer_one_says_the_same(side: Any, kind: str) -> None:
    schema = NEW.schema(side, kind, 2)
    fields = {name: of() for name, of in schema.items()}
    sent = NEW.lowered(side, kind, fields, LOWEST)
    assert sent.keys() == OLD.schema(side, kind, LOWEST).keys()
    assert NEW.raised(side, kind, sent, LOWEST) == fields
