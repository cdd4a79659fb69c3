"""The benchmark as JSON, as a table and as a plot."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tactful.reading.processor import processor_name
from tactful_training.benchmark.compared_systems import PYTORCH
from tactful_training.benchmark.speed_benchmark import OURS, Benchmark, SystemResult
from tactful_training.registry.environment import describe_environment

_MEGA = 1e6
_PERCENTILES = (50, 95, 99)
_MARGIN = 0.02  # of F1, above and below


def to_json(benchmark: Benchmark) -> dict[str, Any]:
    """All figures; seconds, bytes and rates per second."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "bundle": benchmark.bundle,
        "environment": describe_environment(),
        "threads": benchmark.threads,
        "replies": benchmark.replies,
        "tokens": benchmark.tokens,
        "systems": {
            name: {**_system(result), **_ratios(benchmark, result)}
            for name, result in benchmark.systems.items()
        },
        "left_out": dict(benchmark.left_out),
        "peak_operations_per_second": benchmark.peaks,
        "import_seconds": round(benchmark.import_seconds, 3),
        "installed_bytes": benchmark.installed,
    }


def render(benchmark: Benchmark) -> Group:
    """For a terminal of 80 columns; ``x`` is how many times as fast as PyTorch a system is."""
    ours = benchmark.systems[OURS]
    rates = _table("replies/s", "CPU ms", "peak", "x", "F1")
    singles = _table(*(f"p{p} ms" for p in _PERCENTILES), "CPU ms", "x", "MB", "load s")
    for name, result in benchmark.systems.items():
        rates.add_row(
            name,
            f"{result.rate:.1f}",
            f"{1000 * result.cpu_seconds:.2f}",
            f"{result.peak_share:.0%}",
            _times(_ratios(benchmark, result)["rate_to_pytorch"]),
            "" if result.quality is None else f"{result.quality:.3f}",
        )
        singles.add_row(
            name,
            *(f"{1000 * result.percentile(p):.1f}" for p in _PERCENTILES),
            f"{1000 * result.single_cpu_seconds:.1f}",
            _times(_ratios(benchmark, result)["single_reply_to_pytorch"]),
            f"{result.peak_bytes / _MEGA:.0f}",
            f"{result.load_seconds:.1f}",
        )
    mean = benchmark.tokens / benchmark.replies
    lines = [
        f"{benchmark.bundle} on {processor_name()}, {benchmark.threads} threads, "
        f"{datetime.now(UTC).date().isoformat()}",
        f"{benchmark.replies} replies of {mean:.0f} tokens with their context; medians of "
        f"{len(ours.rates)} rounds in turns",
        "CPU: time of all processors for a reply; p50 to p99: single replies; MB: most memory; "
        f"x: times as fast as {PYTORCH}; F1: micro F1 on the test split, as the bundle states it; "
        "peak: share of that of matrix products, which moves with the processor as x does: here "
        + ", ".join(f"{kind} {rate / 1e9:.0f} G/s" for kind, rate in benchmark.peaks.items()),
        f"import tactful: {benchmark.import_seconds:.2f} s; installed: "
        + ", ".join(f"{kind} {size / _MEGA:.0f} MB" for kind, size in benchmark.installed.items()),
        *(f"left out: {name} ({why})" for name, why in benchmark.left_out.items()),
    ]
    return Group(Text(lines[0]), rates, Text(), singles, Text("\n".join(lines[1:])))


def _ratios(benchmark: Benchmark, result: SystemResult) -> dict[str, float | None]:
    """How many times as fast as PyTorch, with many replies and with one; None without it."""
    yardstick = benchmark.systems.get(PYTORCH)
    if yardstick is None:
        return {"rate_to_pytorch": None, "single_reply_to_pytorch": None}
    return {
        "rate_to_pytorch": round(result.rate / yardstick.rate, 3),
        "single_reply_to_pytorch": round(yardstick.percentile(50) / result.percentile(50), 3),
    }


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}"


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def plot(benchmark: Benchmark, path: Path) -> None:
    """Replies per second, the latency of single replies and, where bundles state their quality, it
    beside the speed, as a picture (PNG by its name).
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    names = list(benchmark.systems)[::-1]
    results = [benchmark.systems[name] for name in names]
    colours = ["#0b7285" if name.startswith("tactful") else "#adb5bd" for name in names]
    height = 1.2 + 0.35 * len(names)
    figure, (left, right, third) = pyplot.subplots(1, 3, figsize=(15, height))
    bars = left.barh(names, [result.rate for result in results], color=colours)
    left.bar_label(bars, fmt="%.0f", padding=3)
    left.set_xlabel("replies per second (more is better)")
    bars = right.barh(names, [1000 * r.percentile(50) for r in results], color=colours)
    right.bar_label(bars, fmt="%.1f", padding=3)
    right.set_xlabel("median ms of a single reply (less is better)")
    right.set_yticklabels([])
    points = [(name, each) for name, each in benchmark.systems.items() if each.quality is not None]
    for name, each in points:
        third.plot(each.rate, each.quality, "o", color=colours[names.index(name)])
    # Other systems run the network in fp32, so they share a line: names would cover each other.
    # tactful's own forms may read nearly alike, too: their names stand above and below in turns.
    own = sorted(
        (each.rate, each.quality, name) for name, each in points if name.startswith("tactful")
    )
    for index, (rate, quality, name) in enumerate(own):
        third.annotate(
            name,
            (rate, quality),
            xytext=(0, -15 if index % 2 else 7),
            textcoords="offset points",
            fontsize=8,
            ha="center",
        )
    third.set_xscale("log")
    third.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    third.xaxis.set_major_formatter(ticker.ScalarFormatter())
    third.xaxis.set_minor_locator(ticker.NullLocator())
    if points:  # a tenth of a point is noise, and looks like it
        qualities = [each.quality for _, each in points if each.quality is not None]
        third.set_ylim(min(qualities) - _MARGIN, max(qualities) + _MARGIN)
    third.set_xlabel("replies per second")
    third.set_ylabel("micro F1 on the test split")
    for axes in (left, right, third):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.14)
    figure.suptitle(
        f"{benchmark.bundle}, {processor_name()}, {benchmark.threads} threads", fontsize=10
    )
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _system(result: SystemResult) -> dict[str, Any]:
    return {
        "replies_per_second": round(result.rate, 2),
        "replies_per_second_rounds": [round(rate, 2) for rate in result.rates],
        "tokens_per_second": round(result.tokens_per_second, 1),
        "single_reply_seconds": {f"p{p}": round(result.percentile(p), 6) for p in _PERCENTILES},
        "peak_memory_bytes": result.peak_bytes,
        "cpu_seconds_per_reply": round(result.cpu_seconds, 6),
        "single_reply_cpu_seconds": round(result.single_cpu_seconds, 6),
        "load_seconds": round(result.load_seconds, 3),
        "share_of_peak": round(result.peak_share, 4),
        "micro_f1": result.quality,
    }
