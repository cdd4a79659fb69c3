"""A prepared set as a person sees it in a terminal."""

from __future__ import annotations

import shlex

from rich.console import Group, RenderableType
from rich.text import Text

from tactful_training.data.public.prepare import Prepared
from tactful_training.data.rendering import counts_table


def render_prepared(prepared: Prepared) -> RenderableType:
    """Lay out what each split holds, then what differs and what to know."""
    fold = "" if prepared.fold is None else f", fold {prepared.fold}"
    setting = shlex.quote(f"data.folder={prepared.folder}")
    bundle = shlex.quote(f"models/{prepared.folder.name}")
    lines = [Text(note) for note in prepared.notes]
    lines += [
        Text.assemble(("accepted: ", "yellow"), difference) for difference in prepared.differences
    ]
    return Group(
        counts_table(f"{prepared.folder} ({prepared.name}{fold})", prepared.counts),
        *lines,
        Text(f"tactful train {prepared.name} --set {setting} --out {bundle}"),
    )
