"""A firm opens an update of its own: only of what is final, only what is its own, and it pays for it once."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from consortium_world import a_plan
from dispute_world import Disputed, disputed
from federation_world import Lost, Meddler
from hypothesis import given
from hypothesis import strategies as st

from artesian import app
from clients.accounts import OverCap
from clients.dispute import DisputeRefused, prepare
from clients.firm import Firm
from clients.masking.errors import EpochEnded, KeySetupRefused
from clients.messages import OPEN, TRAIN
from clients.plan import MICRO, Plan
from clients.privacy import NOTHING, add, gaussian_rdp
from clients.wallet import Wallet
from ledger.commands.places import mirror_standing
from ledger.statement import decode_statement

UNIT, DATA = "one row", "data/credit.csv"


@pytest.fixture(scope="module")
def world(disputed_federation: Disputed) -> Disputed:
    return disputed_federation


@pytest.fixture
def firm(world: Disputed, tmp_path: Path) -> Iterator[Firm]:
    opened = world.firm("firm-2", tmp_path)
    yield opened
    opened.close()


def plan_of(world: Disputed) -> Plan:
    return Plan.from_map(decode_statement(world.copy().entries[world.round.index]).payload["plan"])


def test_the_session_is_made_again_from_the_mirror(world: Disputed, firm: Firm) -> None:
    ready = prepare(firm, world.round.id.hex()[:6], "bank-1")
    assert ready.opening.sid == world.opening("firm-3", firm.home.parent).sid
    assert ready.opening.seeds.keys() == {"firm-1", "firm-3", "firm-4", "firm-5"}
    own = world.round.contributions.get("firm-2")
    assert own is not None
    assert (ready.contribution.entry, ready.opening.commit) == (own.index, own.commit)


def test_it_answers_beside_a_running_client(world: Disputed, firm: Firm) -> None:
    running = Firm(firm.home)
    try:
        assert running.witness.size  # it holds the mirror's lock from here on
        assert world.open(firm)
    finally:
        running.close()


def test_the_wallet_pays_what_the_view_costs_above_the_round(world: Disputed, firm: Firm) -> None:
    """The two rounds stay paid for; the opened one costs what its own share of the noise protects."""
    plan, before = plan_of(world), firm.wallet.spent(UNIT, DATA)
    assert before == add([plan.round_rdp()] * 2)
    world.open(firm)
    alone = gaussian_rdp(plan.noise_multiplier / (plan.threshold - plan.colluders) ** 0.5, 1.0, 1)
    assert firm.wallet.spent(UNIT, DATA) == add([plan.round_rdp(), alone])
    assert firm.wallet.open_reservations() == ()


def test_it_costs_once_whoever_sees_it_and_however_often(world: Disputed, firm: Firm) -> None:
    files = [world.open(firm)]
    spent = firm.wallet.spent(UNIT, DATA)
    again = Firm(firm.home)  # another process
    try:
        files += [world.open(again), world.open(again, "firm-5")]
        assert again.wallet.spent(UNIT, DATA) == spent
    finally:
        again.close()
    assert len(set(files)) == 3


@pytest.mark.parametrize("step", ["settle", "seal"])
def test_a_crash_on_the_way_leaves_the_spend_and_costs_no_second_time(
    world: Disputed, firm: Firm, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if step == "settle":
            patch.setattr(Wallet, "settle", crash)
        else:
            patch.setattr("clients.dispute.seal_opening", crash)
        with pytest.raises(KeyboardInterrupt):
            world.open(firm)
    spent = firm.wallet.spent(UNIT, DATA)
    plan = plan_of(world)
    assert spent == add([plan.round_rdp(), plan.round_rdp(), plan.opening_rdp(5)])
    assert world.open(firm)
    assert firm.wallet.spent(UNIT, DATA) == spent
    assert firm.wallet.open_reservations() == ()


def test_over_the_cap_nothing_is_opened(world: Disputed, firm: Firm) -> None:
    """The rounds have spent epsilon 4, and opening one of them comes to more than 5."""
    config, out = firm.home / "firm.toml", firm.home / "opening"
    config.write_text(config.read_text().replace("epsilon = 20.0", "epsilon = 5.0"))
    spent = firm.wallet.spent(UNIT, DATA)
    with pytest.raises(OverCap):
        world.open(Firm(firm.home))
    for consent in ["--yes"], []:  # nothing is asked before the refusal
        done = run(firm.home, world.round.id.hex(), "--to", "bank-1", "-o", out, *consent)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "would bring epsilon from 4 to " in done.stderr
        assert ", over the cap 5; nothing was spent" in done.stderr
    assert firm.wallet.spent(UNIT, DATA) == spent
    assert not out.exists()


def test_a_wallet_that_has_forgotten_its_rounds_opens_nothing(world: Disputed, firm: Firm) -> None:
    firm.close()
    for name in ("wallet.sqlite", "wallet.rows"):
        (firm.home / name).unlink()
    out = firm.home / "opening"
    done = run(firm.home, world.round.id.hex(), "--to", "bank-1", "-o", out, "--yes")
    assert (done.exit_code, done.stdout, done.stderr.count("\n"), out.exists()) == (1, "", 1, False)
    assert "the ledger shows" in done.stderr


@pytest.mark.parametrize(
    ("auditor", "why", "exit_code"),
    [
        ("firm-2", "firm-2: it is this firm itself", 2),
        ("firm-3", "firm-3 has no encryption key", 1),
        ("bank-2", "bank-2 has no encryption key", 1),
        ("coordinator", "'coordinator' is not an active member", 2),
        ("nobody", "'nobody' is not an active member", 2),
    ],
)
def test_only_another_active_member_with_an_encryption_key_can_be_the_auditor(
    world: Disputed, firm: Firm, auditor: str, why: str, exit_code: int
) -> None:
    before = firm.wallet.head
    with pytest.raises(DisputeRefused, match=why) as caught:
        world.open(firm, auditor)
    assert caught.value.exit_code == exit_code
    assert firm.wallet.head == before


def test_another_firm_can_be_the_auditor(world: Disputed, firm: Firm) -> None:
    assert world.examine(world.open(firm, "firm-5"), "firm-5").auditor == "firm-5"


def test_the_last_round_of_a_run_can_be_opened(world: Disputed, firm: Firm) -> None:
    """Each firm's mirror has learnt that it is final."""
    assert world.examine(world.open(firm, number=2)).number == 2


def test_a_round_that_is_not_final_here_stays_closed(world: Disputed, firm: Firm) -> None:
    """The mirror has its aggregate, and not what the other members' witnesses said of it."""
    with contextlib.closing(sqlite3.connect(firm.home / "mirror.db")) as database, database:
        database.execute("DELETE FROM cosignatures WHERE size > ?", (world.rounds[1].index + 1,))
        database.execute("DELETE FROM snapshots")
    assert world.open(firm)
    with pytest.raises(DisputeRefused, match="is not final in this mirror yet"):
        world.open(firm, number=2)


@pytest.mark.parametrize("prefix", ["", "zz", "00" * 16])
def test_a_round_must_be_named_and_known(firm: Firm, prefix: str) -> None:
    """The round is looked at before the auditor."""
    with pytest.raises(DisputeRefused, match="of this id in the mirror") as caught:
        prepare(firm, prefix, "nobody")
    assert caught.value.exit_code == 2


def test_a_past_epoch_stays_closed(world: Disputed, firm: Firm) -> None:
    firm.round_secrets.begin(plan_of(world).epoch + 1, firm.key.public.kid)
    with pytest.raises(DisputeRefused, match="has ended here; they are destroyed"):
        world.open(firm)


def test_an_epoch_that_is_too_old_stays_closed(world: Disputed, firm: Firm) -> None:
    late = Firm(firm.home, lambda: firm.now() + 31 * 86_400)
    for why, error in (("began 31", EpochEnded), ("has ended here", DisputeRefused)):
        with pytest.raises(error, match=why):
            world.open(late)
    late.close()


@pytest.mark.parametrize("what", ["masking", "answers.sqlite"])
def test_what_another_firm_noted_opens_nothing(world: Disputed, firm: Firm, what: str) -> None:
    """A home in which a folder or a file was brought back from elsewhere."""
    firm.answers.close()
    place, other = firm.home / what, world.built.member("firm-3") / what
    if other.is_dir():
        shutil.rmtree(place)
        shutil.copytree(other, place)
    else:
        shutil.copy(other, place)
    again = Firm(firm.home)
    with pytest.raises(DisputeRefused, match="what firm-2 noted when it contributed is not"):
        world.open(again)
    again.close()


def test_damaged_secrets_open_nothing(world: Disputed, firm: Firm) -> None:
    (firm.home / "masking/wrapping.key").write_bytes(bytes(32))
    with pytest.raises(KeySetupRefused, match="cannot be read"):
        world.open(firm)


def test_what_is_in_no_sum_has_nothing_to_open(tmp_path: Path) -> None:
    """One firm never contributes; another once keeps its answer to itself, so that round is void."""
    lost: list[str] = []

    def drop(kind: str, member: str, _: Any) -> None:
        if (kind, member) == (OPEN, "firm-4") and not lost:
            lost.append(member)
            raise Lost
        if (kind, member) == (TRAIN, "firm-5"):
            raise Lost

    built = disputed(tmp_path / "home", Meddler(before=drop), count=2)
    assert [str(one.phase) for one in built.rounds] == ["aborted", "aggregated", "published"]
    for name, number, why in (
        ("firm-1", 1, "it is aborted, not aggregated"),
        ("firm-5", 2, "firm-5 did not contribute"),
    ):
        firm = built.firm(name, tmp_path)
        with pytest.raises(DisputeRefused, match=why):
            built.open(firm, "bank-1", number)
        firm.close()


def test_an_update_without_masks_needs_no_opening(tmp_path: Path) -> None:
    built = disputed(tmp_path / "home", mode="local", kind="plain")
    firm = built.firm("firm-1", tmp_path)
    with pytest.raises(DisputeRefused, match="its updates were not masked"):
        built.open(firm)
    firm.close()


def test_a_suspended_member_is_no_auditor(world: Disputed, firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its encryption key is still on the ledger."""

    def suspended(home: Path) -> Any:
        found = mirror_standing(home)
        assert found is not None
        known = found.state.members.get("bank-1")
        assert known is not None
        return replace(
            found, state=replace(found.state, members=found.state.members.set("bank-1", replace(known, active=False)))
        )

    monkeypatch.setattr("clients.dispute.mirror_standing", suspended)
    with pytest.raises(DisputeRefused, match="'bank-1' is not an active member"):
        world.open(firm)


def test_the_account_of_the_rounds_own_task_spec_pays(world: Disputed, firm: Firm) -> None:
    """Under another spec it could be another unit, whose account knows nothing of the rounds."""
    spec = firm.home / "tasks/credit.toml"
    spec.write_text(spec.read_text().replace("Income", "Revenue"))
    before = firm.wallet.head
    with pytest.raises(DisputeRefused, match="the round was of another task spec"):
        world.open(firm)
    assert firm.wallet.head == before


@pytest.mark.parametrize("mode", ["local", "none"])
def test_an_update_that_has_paid_for_itself_costs_nothing_more(tmp_path: Path, mode: str) -> None:
    built = disputed(tmp_path / "home", mode=mode)
    firm = built.firm("firm-1", tmp_path)
    try:
        before = firm.wallet.head
        assert (built.examine(built.open(firm)).noise_std == 0) == (mode == "none")
        assert firm.wallet.head == before
    finally:
        firm.close()


def run(home: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["firm", "open-dispute", *(str(a) for a in arguments), "--home", str(home)])


def test_the_command_says_what_it_reveals_and_asks(world: Disputed, firm: Firm) -> None:
    out, asked = firm.home / "opening", [world.round.id.hex()[:8], "--to", "bank-1"]
    before = firm.wallet.head
    no = CliRunner().invoke(
        app, ["firm", "open-dispute", *asked, "-o", str(out), "--home", str(firm.home)], input="n\n"
    )
    assert "bank-1 will read all 9 values of this firm's update" in no.stdout
    assert "firm's share of the noise alone" in no.stdout
    assert (no.exit_code, no.stderr.splitlines()[-1]) == (1, "nothing was opened or spent")
    assert (out.exists(), firm.wallet.head) == (False, before)
    yes = CliRunner().invoke(
        app, ["firm", "open-dispute", *asked, "-o", str(out), "--home", str(firm.home)], input="y\n"
    )
    assert (yes.exit_code, out.exists()) == (0, True)
    told = run(firm.home, *asked, "-o", firm.home / "second", "--yes", "--json")
    facts = json.loads(told.stdout)
    assert (facts["paid_before"], facts["costs_epsilon"], facts["auditor"]) == (True, 0.0, "bank-1")


def test_a_file_that_is_there_is_not_written_over_and_nothing_is_paid(world: Disputed, firm: Firm) -> None:
    out, before = firm.home / "opening", firm.wallet.head
    out.write_text("mine")
    asked = [world.round.id.hex(), "--to", "bank-1", "-o"]
    assert "is there already" in (run(firm.home, *asked, out, "--yes").stderr)
    assert "folder is not" in (run(firm.home, *asked, firm.home / "no/where", "--yes").stderr)
    assert "give --yes" in (run(firm.home, *asked, firm.home / "new", "--json").stdout)
    assert (out.read_text(), firm.wallet.head) == ("mine", before)


shares = st.builds(
    lambda threshold, colluders, noise: (threshold, min(colluders, threshold - 1), noise),
    st.integers(3, 40),
    st.integers(0, 39),
    st.integers(MICRO, 50 * MICRO),
)


@given(share=shares)
def test_round_and_opening_cost_what_the_firms_share_of_the_noise_says(share: tuple[int, int, int]) -> None:
    threshold, colluders, noise = share
    plan = a_plan(threshold=threshold, colluders=colluders, noise_micro=noise)
    both = add([plan.round_rdp(), plan.opening_rdp(40)])
    multiplier = plan.noise_multiplier / (threshold - colluders) ** 0.5
    assert both == gaussian_rdp(multiplier, 1.0, 1)
    assert min(plan.opening_rdp(40)) >= 0
    assert a_plan(privacy="local", noise_micro=noise).opening_rdp(40) == NOTHING
    assert a_plan(privacy="none", noise_micro=0).opening_rdp(40) == NOTHING
    sampled = a_plan(threshold=threshold, colluders=colluders, noise_micro=noise, sampling_micro=MICRO // 10)
    assert sampled.opening_rdp(40) == both  # what a sum shows can tell that a unit was sampled


def test_what_is_reserved_once_is_reserved_once() -> None:
    cost = gaussian_rdp(5.0, 1.0, 1)
    other = gaussian_rdp(6.0, 1.0, 1)
    with Wallet(None) as wallet:
        wallet.set_cap("row", "credit", epsilon=8.0, delta=1e-5)
        first = wallet.reserve_once("row", "credit", "opening/1", cost)
        assert first is not None
        assert wallet.reserve_once("row", "credit", "opening/1", cost) == first
        wallet.settle(first)
        head = wallet.head
        with wallet.rehearsal() as rehearsal:
            assert rehearsal.reserve_once("row", "credit", "opening/1", cost) is None
            assert rehearsal.reserve_once("row", "credit", "opening/2", cost) is not None
            rehearsal.set_cap("row", "credit", epsilon=1e-3, delta=1e-5)
            with pytest.raises(OverCap):
                rehearsal.reserve_once("row", "credit", "opening/3", cost)
        assert wallet.head == head
        assert wallet.reserve_once("row", "credit", "opening/1", cost) is None
        assert wallet.spent("row", "credit") == cost
        cancelled = wallet.reserve_once("row", "credit", "opening/2", cost)
        assert cancelled is not None
        wallet.cancel(cancelled)
        assert wallet.reserve_once("row", "credit", "opening/2", cost) not in (None, cancelled)
        assert wallet.reserve_once("row", "credit", "opening/1", other) is not None  # another cost is another thing
        assert wallet.spent("row", "credit") == add([cost, cost, other])
