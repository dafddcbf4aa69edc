"""A measurement in lines for people: each figure with the error that its noise makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from clients.privacy_words import up


def figure_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """What a measurement said, for people."""
    privacy = document["privacy"]
    cost = "no noise: no privacy" if privacy["epsilon"] is None else f"epsilon {up(privacy['epsilon'])}"
    yield f"{document['what']} of {document['task']}, round {document['round'][:12]}, model {document['model'][:12]}"
    yield (
        f"On {document['of_units']}; {len(document['firms'])} firms; cost {cost} at delta {privacy['delta']:g} "
        f"for {privacy['unit']}"
    )
    figures = document["figures"]
    for group, part in figures["groups"].items() if "groups" in figures else [("", figures)]:
        for name, one in part.items():
            if name != "columns" and isinstance(one, Mapping):
                place = f"{figures['column']} {group}, " if group else ""
                yield f"  {place}{name}: {_figure_words(one)}"
    for code, bins in figures.get("columns", {}).items():
        shown = ", ".join(f"{one['bin']}: {one['units']:.0f}" for one in bins)
        yield f"  {code}: {shown} (each ± {1.96 * document['noise']:.0f})"
    for code, one in document.get("drift", {}).items():
        seen = "has drifted" if one["psi"] > one["noise_floor"] else "no more than noise"
        yield f"  drift of {code}: PSI {one['psi']:.4f}, noise alone up to {one['noise_floor']:.4f}: {seen}"


def _figure_words(one: Mapping[str, float | None]) -> str:
    if one["value"] is None:
        return "cannot be told through this noise"
    floor = one.get("noise_floor")
    return f"{one['value']:.4g} ± {one['plus_minus']:.2g}" + (f" (noise adds about {floor:.2g})" if floor else "")
