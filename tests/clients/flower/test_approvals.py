"""Approvals: the installed bundle and what the operator said, nothing else; and what was refused can be looked at."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clients.enrolment.consortium import ConsortiumApp, ConsortiumPolicy
from clients.enrolment.errors import BadConsortium
from clients.flower.approvals import FILE, MOST_ASKED, AppNotApproved, AppNotInPolicy, ApprovalInvalid, Approvals
from clients.flower.bundle import Bundle

OWN = Bundle(b"", "a" * 64, {"clients/app.py": "1"}, "1.2.3")
OTHER = "b" * 64


def approvals(home: Path, at_s: float = 5.0) -> Approvals:
    return Approvals(home, lambda: OWN, lambda: at_s)


def test_the_bundle_of_the_installed_version_needs_no_approval(tmp_path: Path) -> None:
    approvals(tmp_path).require(OWN.sha256)


def test_another_needs_one_and_the_line_names_both(tmp_path: Path) -> None:
    with pytest.raises(AppNotApproved, match=r"b{16}.*a{16}.*artesian firm apps"):
        approvals(tmp_path).require(OTHER)
    approvals(tmp_path).approve(OTHER)
    approvals(tmp_path).require(OTHER)
    assert approvals(tmp_path).approved() == {OTHER: 5.0}


def test_an_approval_can_be_taken_back(tmp_path: Path) -> None:
    approvals(tmp_path).approve(OTHER)
    assert approvals(tmp_path).withdraw(OTHER)
    assert not approvals(tmp_path).withdraw(OTHER)
    with pytest.raises(AppNotApproved):
        approvals(tmp_path).require(OTHER)


def agreed(home: Path, *named: str) -> None:
    """The home's policy names these bundles."""
    apps = tuple(ConsortiumApp(sha256=one, version="1.2.4") for one in named)
    (home / "consortium.toml").write_text(ConsortiumPolicy(cid="grain", name="Grain", app=apps).text())


def test_where_the_policy_names_bundles_both_words_are_needed(tmp_path: Path) -> None:
    agreed(tmp_path)
    approvals(tmp_path).require(OWN.sha256)  # it names none: the firm decides alone
    agreed(tmp_path, OTHER)
    with pytest.raises(AppNotInPolicy, match=r"a{16}, consortium.toml names b{16} \(artesian 1.2.4\)"):
        approvals(tmp_path).require(OWN.sha256)
    with pytest.raises(AppNotApproved, match="artesian firm apps"):
        approvals(tmp_path).require(OTHER)
    approvals(tmp_path).approve(OTHER)
    approvals(tmp_path).require(OTHER)
    agreed(tmp_path, OWN.sha256)
    with pytest.raises(AppNotInPolicy):
        approvals(tmp_path).require(OTHER)
    approvals(tmp_path).require(OWN.sha256)
    approvals(tmp_path).note(OTHER, {})
    assert set(approvals(tmp_path).asked()) == {OTHER}  # approved, and refused all the same


@pytest.mark.parametrize("content", [b"cid = 3", b"\xff", b"version = 9"])
def test_a_policy_that_cannot_be_read_lets_no_bundle_through(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "consortium.toml").write_bytes(content)
    with pytest.raises(BadConsortium):
        approvals(tmp_path).require(OWN.sha256)


@pytest.mark.parametrize("text", ["", "b" * 63, "B" * 64, "b" * 65, "../../etc/passwd"])
def test_only_a_whole_hash_can_be_approved(tmp_path: Path, text: str) -> None:
    with pytest.raises(ApprovalInvalid):
        approvals(tmp_path).approve(text)


def test_what_was_refused_is_remembered_until_it_is_approved_or_too_long_ago(tmp_path: Path) -> None:
    for number in range(MOST_ASKED + 3):
        approvals(tmp_path, float(number)).note(f"{number:064x}", {"clients/app.py": str(number)})
    kept = approvals(tmp_path).asked()
    assert set(kept) == {f"{number:064x}" for number in range(3, MOST_ASKED + 3)}
    newest = f"{MOST_ASKED + 2:064x}"
    assert kept[newest].files == {"clients/app.py": str(MOST_ASKED + 2)}
    approvals(tmp_path).approve(newest)
    assert newest not in approvals(tmp_path).asked()


def test_a_file_that_cannot_be_read_approves_nothing_but_what_is_installed(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    approvals(tmp_path).require(OWN.sha256)
    with pytest.raises(ApprovalInvalid, match=FILE):
        approvals(tmp_path).require(OTHER)


def test_a_refusal_that_is_noted_brings_back_no_approval_that_was_withdrawn_meanwhile(tmp_path: Path) -> None:
    withdrawn = list[bool]()

    def meanwhile() -> float:
        """The clock of who notes, between reading and writing: the operator withdraws."""
        if not withdrawn:
            withdrawn.append(approvals(tmp_path).withdraw(OTHER))
        return 6.0

    approvals(tmp_path).approve(OTHER)
    Approvals(tmp_path, lambda: OWN, meanwhile).note("c" * 64, {})
    assert withdrawn == [True]
    assert approvals(tmp_path).approved() == {}
    assert set(approvals(tmp_path).asked()) == {"c" * 64}


def test_of_two_that_note_at_once_neither_is_lost(tmp_path: Path) -> None:
    def note(number: int) -> None:
        approvals(tmp_path, float(number)).note(f"{number:064x}", {})

    with ThreadPoolExecutor(MOST_ASKED) as pool:
        list(pool.map(note, range(MOST_ASKED)))
    assert len(approvals(tmp_path).asked()) == MOST_ASKED


def test_a_file_of_an_earlier_release_still_approves(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f'{{"approved": {{"{OTHER}": 5.0}}, "asked": {{}}}}')
    approvals(tmp_path).require(OTHER)
