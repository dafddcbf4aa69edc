"""An auditor reads what was opened to it: exactly the update that was masked, or what first does not match."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from dispute_world import Disputed, disputed

from artesian import app
from clients.masking.contribution import Header
from clients.opening import NoOpening, NotForThisKey, Opening, open_opening, seal_opening
from ledger.encoding import encode
from ledger.genesis import record
from ledger.keys import BadSignature, SigningKey
from ledger.service.encryption_key import EncryptionKey, seal
from ledger.statement import sign_statement
from server.artifacts import ArtifactStore
from server.dispute import NotAnAuditor, examine
from server.errors import ServerError


@pytest.fixture(scope="module")
def world(disputed_federation: Disputed) -> Disputed:
    return disputed_federation


@pytest.fixture(scope="module")
def opening(world: Disputed, tmp_path_factory: pytest.TempPathFactory) -> Opening:
    return world.opening("firm-2", tmp_path_factory.mktemp("firm"))


def sealed(world: Disputed, opening: Opening, signer: str | None = None) -> bytes:
    """The file that `signer` makes of an opening, in the name that the opening has."""
    key = SigningKey.load(world.built.member(signer or opening.member) / "signing.pem")
    return seal_opening(opening, key, world.key("bank-1").public, record_id=bytes(16), ts=1)


def test_the_update_is_exactly_what_was_masked(world: Disputed, opening: Opening) -> None:
    found = world.examine(sealed(world, opening))
    truth = {firm: values for (of, firm), values in world.masked.items() if of == world.round.id}
    step = found.update / truth["firm-2"]
    assert np.allclose(step, step[0], rtol=1e-12)
    assert np.allclose(found.others, step[0] * sum(v for f, v in truth.items() if f != "firm-2"), rtol=1e-12)
    own = world.round.contributions.get("firm-2")
    assert own is not None
    assert (found.member, found.auditor, found.entry, found.firms) == ("firm-2", "bank-1", own.index, 5)
    assert found.norm == pytest.approx(np.linalg.norm(found.update))
    assert found.largest == pytest.approx(abs(found.update).max())
    assert found.cosine == pytest.approx(np.corrcoef(found.update, found.others)[0, 1], abs=0.5)
    assert found.noise_norm == pytest.approx(3 * found.noise_std)  # of nine values
    assert found.share_of_sum == pytest.approx(found.norm / np.linalg.norm(found.update + found.others))


def test_of_a_round_in_groups_its_own_sum_is_shown(tmp_path: Path) -> None:
    built = disputed(tmp_path / "home", firms=10, robust={"groups": 2})
    opening = built.opening("firm-02", tmp_path)
    assert len(opening.seeds) == 4
    found = built.examine(sealed(built, opening))
    values = {firm: values for (of, firm), values in built.masked.items() if of == built.round.id}
    group = [firm for firm in values if firm in opening.seeds]
    step = found.update[0] / values["firm-02"][0]
    assert np.allclose(found.update, step * values["firm-02"], rtol=1e-12)
    assert np.allclose(found.others, step * sum(values[firm] for firm in group), rtol=1e-12)
    assert found.firms == 5


def test_a_weight_is_told_apart_from_the_gradient(tmp_path: Path) -> None:
    built = disputed(tmp_path / "home", weighting="summed")
    found = built.examine(sealed(built, built.opening("firm-2", tmp_path)))
    values = built.masked[built.round.id, "firm-2"]
    assert found.update.size == found.others.size == len(values) - 1
    assert found.units is not None
    assert found.units_std > 0
    assert abs(found.units - 60) < 6 * found.units_std
    assert found.units / (found.update[0] / values[0] * values[-1]) == pytest.approx(8)


MISMATCHES: dict[str, tuple[Callable[[Opening], Opening], str]] = {
    "another round": (lambda o: replace(o, round_id=bytes(16)), "the ledger has no aggregate of it"),
    "another session": (lambda o: replace(o, sid=bytes(32)), "opens another session"),
    "another contribution": (lambda o: replace(o, commit=bytes(32)), "is not one that the ledger has"),
    "somebody else's": (lambda o: replace(o, member="firm-3"), "is not one that the ledger has"),
    "no firm's": (lambda o: replace(o, member="bank-2"), "is not one that the ledger has"),
    "another seed": (
        lambda o: replace(o, seeds={**o.seeds, "firm-4": bytes(32)}),
        "seed of firm-2 with firm-4: it is not the one that firm-2 committed to",
    ),
    "a seed less": (lambda o: replace(o, seeds={"firm-1": o.seeds["firm-1"]}), "missing or superfluous"),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_the_first_thing_that_does_not_match_is_named(world: Disputed, opening: Opening, name: str) -> None:
    change, problem = MISMATCHES[name]
    with pytest.raises(ServerError, match=problem) as caught:
        world.examine(sealed(world, change(opening)))
    assert caught.value.exit_code == 1


def test_only_the_firm_itself_can_have_signed_it(world: Disputed, opening: Opening) -> None:
    with pytest.raises(ServerError, match="not signed with a key that firm-2 has had since the round"):
        world.examine(sealed(world, opening, "firm-3"))


def test_a_signature_that_does_not_fit_is_refused(world: Disputed, opening: Opening) -> None:
    """By somebody with the seeds who names the firm's key and does not have it."""
    _, statement = open_opening(sealed(world, opening), world.key("bank-1"), opening.cid, "bank-1")
    forged = statement.raw[:-1] + bytes([statement.raw[-1] ^ 1])
    bound = encode(["artesian/opening/v1", opening.cid, "bank-1"])
    with pytest.raises(BadSignature, match="firm-2"):
        world.examine(b"artesian opening v1\n" + seal(forged, world.key("bank-1").public, bound))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_key_counts_that_the_firm_has_had_since_the_round(world: Disputed, opening: Opening, when: str) -> None:
    """Rotated after the round, both keys sign an opening; before it, the old one is a stranger's."""
    copy, store = world.copy(), ArtifactStore(world.built.coordinator / "artifacts")
    new = SigningKey.generate()
    fields = {"member": "firm-2", "key": new.public.raw, "approvals": []}
    payload = record("rotate", cid=opening.cid, record_id=bytes(16), ts=1, **fields)
    rotated = sign_statement(payload, issuer="firm-2", subject="firm-2", key=new)
    at = 1 + copy.rounds[opening.round_id].entry if when == "after" else copy.rounds[opening.round_id].entry - 1
    entries = (*copy.entries[:at], rotated, *copy.entries[at + (when == "before") :])
    made = seal_opening(opening, new, world.key("bank-1").public, record_id=bytes(16), ts=1)
    assert examine(made, replace(copy, entries=entries), store, [world.key("bank-1")]).member == "firm-2"
    old = sealed(world, opening)
    if when == "after":
        assert examine(old, replace(copy, entries=entries), store, [world.key("bank-1")]).member == "firm-2"
        return
    with pytest.raises(ServerError, match="not signed with a key that firm-2 has had since the round"):
        examine(old, replace(copy, entries=entries), store, [world.key("bank-1")])


def test_it_is_for_this_auditor_of_this_consortium(world: Disputed, opening: Opening) -> None:
    file = sealed(world, opening)
    with pytest.raises(NotForThisKey, match="not for firm-5 in simulation"):
        world.examine(file, "firm-5")
    store = ArtifactStore(world.built.coordinator / "artifacts")
    with pytest.raises(NotAnAuditor, match="not one that the ledger knows"):
        examine(file, world.copy(), store, [EncryptionKey.generate()])
    with pytest.raises(NotForThisKey):
        world.examine(sealed(world, replace(opening, cid="another")))
    with pytest.raises(NoOpening):
        world.examine(b"not an opening")


def test_a_key_that_the_auditor_had_before_still_reads(world: Disputed, opening: Opening) -> None:
    """Keys of the auditor that the ledger does not name are passed over, whatever their order."""
    store = ArtifactStore(world.built.coordinator / "artifacts")
    keys = [EncryptionKey.generate(), world.key("firm-5"), world.key("bank-1")]
    assert examine(sealed(world, opening), world.copy(), store, keys).auditor == "bank-1"


@pytest.mark.parametrize("first", [True, False])
def test_a_key_that_another_member_registers_too_reads_as_before(
    world: Disputed, opening: Opening, first: bool
) -> None:
    """Before or after its owner, who may have another by now: nobody can shut an auditor out by naming its key."""
    copy, store, key = world.copy(), ArtifactStore(world.built.coordinator / "artifacts"), world.key("bank-1")
    at = 1 if first else len(copy.entries)
    entries = list(copy.entries)
    for member, named in (("bank-1", EncryptionKey.generate()), ("bank-2", key)):
        signer = SigningKey.load(world.built.member(member) / "signing.pem")
        payload = record("encryption_key", cid=opening.cid, record_id=bytes(16), ts=1, key=named.public)
        entries.insert(at, sign_statement(payload, issuer=member, subject=member, key=signer))
    found = examine(sealed(world, opening), replace(copy, entries=tuple(entries)), store, [key])
    assert (found.member, found.auditor) == ("firm-2", "bank-1")


@pytest.mark.parametrize("kind", ["header", "masked values", "pair hashes"])
def test_what_the_store_lost_or_changed_is_named(world: Disputed, opening: Opening, tmp_path: Path, kind: str) -> None:
    folder = Path(shutil.copytree(world.built.coordinator / "artifacts", tmp_path / "artifacts"))
    store = ArtifactStore(folder)
    header = Header.from_bytes(store.get(opening.commit))
    path = store.path(
        {"header": opening.commit, "masked values": header.masked, "pair hashes": header.pair_seeds}[kind]
    )
    raw = path.read_bytes()
    path.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
    with pytest.raises(ServerError, match=f"{kind} of firm-2: the stored artifact"):
        world.examine(sealed(world, opening), artifacts=folder)
    path.unlink()
    with pytest.raises(ServerError, match=f"{kind} of firm-2: the store has no artifact"):
        world.examine(sealed(world, opening), artifacts=folder)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_from_the_firms_command_to_the_auditors(world: Disputed, tmp_path: Path) -> None:
    """A firm opens, its auditor reads with what an auditor has: a mirror or a copy of the ledger, and of the store."""
    firm = world.firm("firm-4", tmp_path)
    firm.close()
    file, array = tmp_path / "opening", tmp_path / "update.npy"
    made = run(
        "firm", "open-dispute", world.round.id.hex()[:9], "--to", "bank-1", "-o", file, "--yes", "--home", firm.home
    )
    assert (made.exit_code, made.stderr) == (0, "")
    home = world.built.member("bank-1")
    copies = ["--ledger", world.built.coordinator / "ledger.db", "--artifacts", world.built.coordinator / "artifacts"]
    done = run("audit", "dispute", file, "--home", home, *copies, "--update", array, "--json")
    facts: dict[str, Any] = json.loads(done.stdout)
    assert (done.exit_code, facts["ok"], facts["member"], facts["trusted"]) == (0, True, "firm-4", True)
    update = np.load(array)
    assert (update.dtype, update.shape) == (np.float64, (9,))
    assert np.linalg.norm(update) == pytest.approx(facts["norm"])
    assert facts["norm"] / facts["noise_std"] / 3 == pytest.approx(facts["norm_over_noise"])
    shown = run("audit", "dispute", file, "--home", home, *copies)
    assert f"exactly the update that firm-4 committed to at entry {facts['entry']}" in shown.stdout
    assert "Whether the records behind it are true is not shown." in shown.stdout
    for other in ("firm-5", "coordinator"):
        where = world.built.coordinator if other == "coordinator" else world.built.member(other)
        no = run("audit", "dispute", file, "--home", where, *copies)
        assert (no.exit_code, no.stdout, no.stderr.count("\n")) == (2 if other == "coordinator" else 1, "", 1)
    again = run("audit", "dispute", file, "--home", home, *copies, "--update", array)
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)
    file.write_bytes(file.read_bytes()[:-1])
    cut = run("audit", "dispute", file, "--home", home, *copies, "--json")
    assert (cut.exit_code, json.loads(cut.stdout)["ok"]) == (1, False)
