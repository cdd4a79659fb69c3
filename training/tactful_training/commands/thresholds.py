"""``tactful thresholds``: a bundle whose thresholds meet a stated precision or recall."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.options import BundleOption, DelimiterOption, JsonOption
from tactful_training.commands.shared_options import (
    DataOption,
    SplitOption,
    require_train_extra,
    show,
)


def thresholds(
    data: DataOption,
    policy: Annotated[
        list[str],
        typer.Option(
            metavar="POLICY",
            help="'apology: precision>=0.9', '*: recall>=0.8', or a .yaml file of such lines; "
            "may be repeated.",
        ),
    ],
    split: SplitOption = "validation",
    bundle: BundleOption = DEFAULT_BUNDLE,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the new bundle goes; by default beside the old one."
        ),
    ] = None,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Choose thresholds by a policy and write them as a new version of the bundle.

    Exit code 1, and nothing is written, if a goal cannot be met on these rows.
    """
    require_train_extra("tactful thresholds")
    from rich.console import Console

    from tactful_training.bundling.rethresholding import choose_and_write
    from tactful_training.bundling.rethresholding_goals import LEAST_POSITIVES, unmet

    with Console(stderr=True).status("Reading replies"):
        result = choose_and_write(bundle, data, split, policy, out, delimiter)
    show(json_output, result.to_dict, result.table)
    if result.out is not None and not json_output:
        typer.echo(f"bundle  {result.out} ({result.bundle})")
    for goal, support in result.left_out.items():
        typer.echo(
            f"left out: {goal}: only {support} rows carry it, {LEAST_POSITIVES} are needed; its "
            "threshold stays",
            err=True,
        )
    problems = unmet(result.chosen)
    for line in problems:
        typer.echo(f"error: {line}", err=True)
    if problems:
        raise typer.Exit(1)
