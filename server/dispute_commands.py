"""`artesian audit dispute`: read what a firm opened to this auditor, and hold it against the ledger and the store."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.audit_options import Artifacts, Home, Json, Ledger, Policy, copies

if TYPE_CHECKING:
    from ledger.service.encryption_key import EncryptionKey
    from server.dispute import OpenedUpdate

File = Annotated[Path, typer.Argument(help="What the firm's `open-dispute` wrote.")]
Key = Annotated[
    Path | None,
    typer.Option(help="The auditor's encryption key. Default: encryption.pem in the home, and those before it."),
]
Update = Annotated[Path | None, typer.Option(help="Write the update into this new file: a NumPy array, float64.")]


def dispute(
    file: File,
    home: Home = Path(),
    ledger: Ledger = None,
    artifacts: Artifacts = None,
    policy: Policy = None,
    encryption_key: Key = None,
    update: Update = None,
    as_json: Json = False,
) -> None:
    """Check an update that a firm opened to this auditor. Exit code 1 names the first thing that does not match."""
    from ledger.commands.answering import read
    from server.artifacts import ArtifactStore
    from server.dispute import examine
    from server.ledger_copy import LedgerCopy

    where, store, trusted = copies(home, ledger, artifacts, policy)
    keys = _keys(home, encryption_key)
    found = examine(read(file), LedgerCopy.read(where, trusted), ArtifactStore(store), keys)
    if update is not None:
        _keep(found, update)
    if as_json:
        typer.echo(json.dumps({"ok": True, **_facts(found), "trusted": trusted is not None}))
        return
    for line in _words(found):
        typer.echo(line)
    if trusted is None:
        typer.echo("Checked against the ledger's own key: give --policy to check it against yours.")


def _keys(home: Path, given: Path | None) -> "list[EncryptionKey]":
    from ledger.homes import ENCRYPTION_KEY
    from ledger.service.encryption_key import EncryptionKey

    paths = [home / ENCRYPTION_KEY, *sorted(home.glob("encryption.old-*.pem"))] if given is None else [given]
    return [EncryptionKey.load(path) for path in paths]


def _keep(found: "OpenedUpdate", path: Path) -> None:
    """Write the update for its owner's eyes only."""
    import numpy as np

    from ledger.commands.answering import write

    array = io.BytesIO()
    np.save(array, found.update)
    write(path, array.getvalue(), mode=0o600)


def _facts(found: "OpenedUpdate") -> dict[str, Any]:
    noisy = found.noise_std > 0
    return {
        "member": found.member,
        "auditor": found.auditor,
        "round": found.round_id.hex(),
        "task": found.task,
        "number": found.number,
        "entry": found.entry,
        "firms": found.firms,
        "values": int(found.update.size),
        "norm": found.norm,
        "largest": found.largest,
        "noise_std": found.noise_std,
        "largest_in_noise_stds": found.largest / found.noise_std if noisy else None,
        "norm_over_noise": found.norm / found.noise_norm if noisy else None,
        "share_of_sum": found.share_of_sum,
        "cosine_with_others": found.cosine,
        "units": found.units,
        "units_std": found.units_std,
    }


def _words(found: "OpenedUpdate") -> list[str]:
    facts = _facts(found)
    lines = [
        f"This is exactly the update that {found.member} committed to at entry {found.entry} of the ledger: its "
        f"contribution to round {found.number} of {found.task} ({facts['round']}), opened by it to {found.auditor}.",
        f"{facts['values']} values, norm {found.norm:.4g}, largest {found.largest:.4g}.",
    ]
    if facts["norm_over_noise"] is None:
        lines.append("It carries no noise.")
    else:
        lines.append(
            f"Its own noise has a standard deviation of {found.noise_std:.4g}: the largest value is "
            f"{facts['largest_in_noise_stds']:.3g} of them, the norm {facts['norm_over_noise']:.3g} times that of the "
            "noise alone."
        )
    if found.share_of_sum is not None and found.cosine is not None:
        lines.append(
            f"In the sum of {found.firms} firms: its norm is {found.share_of_sum:.3g} times the sum's, its cosine with "
            f"the others' sum {found.cosine:.3g}."
        )
    if found.units is not None:
        lines.append(f"Its weight counts {found.units:.4g} units, with noise of a deviation of {found.units_std:.3g}.")
    lines.append("Whether the records behind it are true is not shown.")
    return lines
