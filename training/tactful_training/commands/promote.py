"""``tactful promote``: a challenger becomes champion if the policy holds."""

from __future__ import annotations

from typing import Annotated

import typer

from tactful.options import DelimiterOption, JsonOption
from tactful_training.commands.shared_options import require_train_extra, show


def promote(
    challenger: Annotated[
        str, typer.Option(help="The version to promote: number, alias or models:/ URI.")
    ] = "challenger",
    champion: Annotated[
        str | None,
        typer.Option(help="What to measure it against; without it, the alias champion."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The policy; without it, configs/promotion.yaml."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="FOLDER_OR_FILE", help="Rows to measure on, not the policy's."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which rows of a data set.")] = None,
    delimiter: DelimiterOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide only; nothing in MLflow changes.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Measure a challenger against the champion and move the alias if the policy holds.

    Exit code 1, with the reasons, if it does not.
    """
    require_train_extra("tactful promote")
    from rich.console import Console

    from tactful_training.registry.promotion import promote as run
    from tactful_training.registry.promotion_policy import load_policy

    asked = load_policy(policy)
    with Console(stderr=True).status("Measuring the challenger"):
        decision = run(
            asked,
            challenger=challenger,
            champion=champion,
            data=data,
            split=split,
            delimiter=delimiter,
            dry_run=dry_run,
        )
    show(json_output, decision.to_dict, lambda: decision.said(dry_run=dry_run))
    if decision.verdict in ("held", "refused"):
        raise typer.Exit(1)
