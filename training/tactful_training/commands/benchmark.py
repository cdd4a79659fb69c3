"""``tactful benchmark``: speed of a bundle here, beside plain transformers and onnxruntime."""

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
from tactful_training.errors import DataError


def benchmark(
    data: DataOption = "data_cards/support_replies",
    split: SplitOption = "test",
    replies: Annotated[int, typer.Option(min=1, help="How many of them, evenly spread.")] = 320,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each system.")] = 5,
    singles: Annotated[
        int, typer.Option(min=1, help="Replies of each round that are also read one by one.")
    ] = 40,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Instead, show which operators the time of the bundle goes to."
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Save a picture here.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="The bundle's pretrained encoder, where it is one of your own."
        ),
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BUNDLE",
            help="A further bundle in the same table, a small form for example; may be repeated.",
        ),
    ] = None,
    bundle: BundleOption = DEFAULT_BUNDLE,
    delimiter: DelimiterOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure how fast a bundle reads here, beside what would be used otherwise.

    tactful as it ships and in fp32, transformers' pipeline in PyTorch (fp32 and bf16; batches of
    32 and one by one), plain onnxruntime and, where they are installed, OpenVINO's int8 (packages
    openvino and nncf) and Optimum's take turns, each in a process of its own.
    """
    require_train_extra("tactful benchmark")

    from rich.console import Console

    from tactful.bundle.loading import Bundle
    from tactful_training.benchmark import benchmark_report as report
    from tactful_training.benchmark.speed_benchmark import evenly_spread, run_benchmark
    from tactful_training.data.data_set import load_labelled

    if plot is not None and not plot.absolute().parent.is_dir():
        raise DataError(f"--plot {plot}: the folder {plot.absolute().parent} does not exist")
    loaded = Bundle.load(bundle)
    labelled = load_labelled(data, split, loaded.heads.tasks, delimiter=delimiter)
    rows = evenly_spread(labelled.rows, replies)
    pairs = [(row.reply, row.context) for row in rows]
    if profile:
        from tactful_training.benchmark.operator_costs import profile as run_profile
        from tactful_training.benchmark.operator_costs import render_profile

        Console().print(render_profile(*run_profile(loaded, pairs)))
        return
    with Console(stderr=True).status("") as status:
        measured = run_benchmark(
            *(loaded, pairs),
            encoder=encoder,
            rounds=rounds,
            singles=singles,
            say=status.update,
            beside=[Bundle.load(each) for each in beside or ()],
        )
    if plot is not None:
        report.plot(measured, plot)
    show(json_output, lambda: report.to_json(measured), lambda: report.render(measured))
