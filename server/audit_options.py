"""The options of `artesian audit`: where its commands find the ledger, the artifacts and the policy that is trusted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ledger.policy import Policy as Trusted

Home = Annotated[
    Path,
    typer.Option(
        envvar="ARTESIAN_HOME", help="Holds ledger.db or mirror.db, and artifacts; its policy.txt is trusted."
    ),
]
Ledger = Annotated[Path | None, typer.Option(help="A copy of the ledger, or a member's mirror. Default: in the home.")]
Artifacts = Annotated[Path | None, typer.Option(help="A copy of the artifacts folder. Default: in the home.")]
Policy = Annotated[Path | None, typer.Option(help="The consortium's policy file. Default: policy.txt in the home.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def copies(
    home: Path, ledger: Path | str | None, artifacts: Path | None, policy: Path | None
) -> "tuple[Path | str, Path, Trusted | None]":
    """The ledger's database, the folder of the artifacts, and the policy; None where there is none to trust.

    Raises:
        NoArtifacts: there is no such folder.
    """
    from ledger.policy import Policy as Trusted
    from server.audit import ARTIFACTS, POLICY, NoArtifacts, ledger_in

    store = artifacts or home / ARTIFACTS
    if not store.is_dir():
        raise NoArtifacts(f"{store}: no such folder; give --artifacts with a copy of the coordinator's artifacts")
    given = policy or (home / POLICY if (home / POLICY).exists() else None)
    trusted = None if given is None else Trusted.parse(given.read_text("utf-8"))
    return ledger or ledger_in(home), store, trusted
