"""`artesian explain`: the page of an exit code or of a reason."""

from __future__ import annotations

import json
from typing import Annotated

import typer

app = typer.Typer()


@app.command("explain", epilog="Example: artesian explain cohort\n\nExample: artesian explain exit/2")
def explain(
    code: Annotated[str | None, typer.Argument(help="An exit code, or what stands before the colon.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what an exit code or a reason means, who sees it, and what to do. Without a code: list them all."""
    from clients.reasons import FAMILIES, find, pages

    if code is None:
        every = pages()
        known = {family: [page.code for page in every if page.family == family] for family in FAMILIES}
        if as_json:
            typer.echo(json.dumps(known))
            return
        for family, codes in known.items():
            typer.echo(f"{family} ({FAMILIES[family]}): {', '.join(codes)}")
        return
    found = find(code)
    if as_json:
        typer.echo(json.dumps([{"family": one.family, "code": one.code, "page": one.text} for one in found]))
        return
    typer.echo("\n".join(one.text for one in found), nl=False)
