"""The benchmark as JSON, as a table and as a plot."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tactful.reading.processor import processor_name
from tactful_training.benchmark.speed_benchmark import OURS, Benchmark, SystemResult
from tactful_training.registry.environment import describe_environment

_MEGA = 1e6
_PERCENTILES = (50, 95, 99)


def to_json(benchmark: Benchmark) -> dict[str, Any]:
    """All figures; seconds, bytes and rates per second."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "bundle": benchmark.bundle,
        "environment": describe_environment(),
        "threads": benchmark.threads,
        "replies": benchmark.replies,
        "tokens": benchmark.tokens,
        "systems": {name: _system(result) for name, result in benchmark.systems.items()},
        "peak_operations_per_second": benchmark.peaks,
        "import_seconds": round(benchmark.import_seconds, 3),
        "installed_bytes": benchmark.installed,
    }


def render(benchmark: Benchmark) -> Group:
    """For a terminal of 80 columns; ``tactful x`` is how many times faster tactful is."""
    ours = benchmark.systems[OURS]
    rates = _table("replies/s", "tokens/s", "peak", "tactful x")
    singles = _table(*(f"p{p} ms" for p in _PERCENTILES), "MB", "load s")
    for name, result in benchmark.systems.items():
        rates.add_row(
            name,
            f"{result.rate:.1f}",
            f"{result.tokens_per_second:.0f}",
            "" if result.peak_share is None else f"{result.peak_share:.0%}",
            "" if name == OURS else f"{ours.rate / result.rate:.1f}",
        )
        singles.add_row(
            name,
            *(f"{1000 * result.percentile(p):.1f}" for p in _PERCENTILES),
            f"{result.peak_bytes / _MEGA:.0f}",
            f"{result.load_seconds:.1f}",
        )
    mean = benchmark.tokens / benchmark.replies
    lines = [
        f"{benchmark.bundle} on {processor_name()}, {benchmark.threads} threads, "
        f"{datetime.now(UTC).date().isoformat()}",
        f"{benchmark.replies} replies of {mean:.0f} tokens with their context; medians of "
        f"{len(ours.rates)} rounds in turns",
        "p50 to p99: single replies; MB: most memory; peak: share of that of matrix products, "
        "which is "
        + ", ".join(f"{kind} {rate / 1e9:.0f} G/s" for kind, rate in benchmark.peaks.items()),
        f"import tactful: {benchmark.import_seconds:.2f} s; installed: "
        + ", ".join(f"{kind} {size / _MEGA:.0f} MB" for kind, size in benchmark.installed.items()),
    ]
    return Group(Text(lines[0]), rates, Text(), singles, Text("\n".join(lines[1:])))


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def plot(benchmark: Benchmark, path: Path) -> None:
    """Replies per second and the latency of single replies, as a picture (PNG by its name)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(benchmark.systems)[::-1]
    results = [benchmark.systems[name] for name in names]
    colours = ["#0b7285" if name.startswith("tactful") else "#adb5bd" for name in names]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 3.6), sharey=True)
    bars = left.barh(names, [result.rate for result in results], color=colours)
    left.bar_label(bars, fmt="%.0f", padding=3)
    left.set_xlabel("replies per second (more is better)")
    bars = right.barh(names, [1000 * r.percentile(50) for r in results], color=colours)
    right.bar_label(bars, fmt="%.1f", padding=3)
    right.set_xlabel("median ms of a single reply (less is better)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
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
        "load_seconds": round(result.load_seconds, 3),
        "share_of_peak": None if result.peak_share is None else round(result.peak_share, 4),
    }
