"""The benchmark: all systems side by side in one run, in turns, medians of rounds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TypeVar

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tactful.bundle.loading import Bundle
from tactful.reading.encoding import Pair, ReplyEncoding
from tactful.reading.processor import available_cpus
from tactful_training.benchmark.compared_systems import SYSTEMS, Setting, SystemProcess
from tactful_training.benchmark.operator_costs import operations_per_token, peak
from tactful_training.bundling.fusion import fuse
from tactful_training.config.config_file import load_config
from tactful_training.config.config_schema import EncoderConfig
from tactful_training.fitting.encoder import find_encoder, load_encoder
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.onnx_export import export_onnx

OURS = "tactful"
OURS_FP32 = "tactful, fp32"
_WARM_UP = 64  # replies
Element = TypeVar("Element")


@dataclass(frozen=True)
class SystemResult:
    """One system.

    Attributes:
        rates: replies per second of each round.
        tokens_per_second: of the median round.
        latencies: seconds of single replies, all rounds.
        peak_bytes: most memory of its process.
        load_seconds: until it is ready, imports included.
        peak_share: of the machine's measured peak in matrix products; None for peers.
    """

    rates: tuple[float, ...]
    tokens_per_second: float
    latencies: tuple[float, ...]
    peak_bytes: int
    load_seconds: float
    peak_share: float | None

    @property
    def rate(self) -> float:
        """Median replies per second."""
        return statistics.median(self.rates)

    def percentile(self, percent: float) -> float:
        """Seconds within which so many of the single replies are read."""
        return float(np.percentile(self.latencies, percent))


@dataclass(frozen=True)
class Benchmark:
    """All that was measured.

    Attributes:
        bundle: id of the bundle.
        replies: how many were read in a round.
        tokens: how many tokens their first windows have, context included.
        threads: of each system.
        systems: results by name.
        peaks: operations per second by ``int8`` and ``fp32``.
        import_seconds: of ``import tactful``.
        installed: bytes on disk by ``base`` and ``train``.
    """

    bundle: str
    replies: int
    tokens: int
    threads: int
    systems: dict[str, SystemResult]
    peaks: dict[str, float]
    import_seconds: float
    installed: dict[str, int]


def evenly_spread(rows: Sequence[Element], count: int) -> list[Element]:
    """So many of the rows, from all over them: neighbours are alike in length and kind."""
    count = min(count, len(rows))
    return [rows[index * len(rows) // count] for index in range(count)]


def run_benchmark(
    bundle: Bundle,
    pairs: Sequence[Pair],
    *,
    encoder: str | None,
    rounds: int,
    singles: int,
    say: Callable[[str], None],
) -> Benchmark:
    """Run it.

    Args:
        bundle: the one to measure.
        pairs: (reply, context) to read; repetitions are read once.
        encoder: folder of the bundle's pretrained encoder; None looks where training looks.
        rounds: turns of each system.
        singles: how many replies of each round are read on their own.
        say: told what goes on.

    Raises:
        TactfulError: the bundle or its encoder cannot be used, or a system failed.
    """
    pairs = list(dict.fromkeys(pairs))
    threads = available_cpus()
    precision = str(bundle.manifest.get("precision", "fp32"))
    encoding = ReplyEncoding(
        bundle.files["tokenizer.json"],
        replace(bundle.heads.limits, max_windows=1, window_overlap=0),
    )
    tokens = sum(len(row.windows[0].input_ids) for row in encoding.encode(pairs))
    say("measuring the machine's peak")
    peaks = {name: peak(int8=name == "int8", threads=threads) for name in ("fp32", "int8")}
    each_token = operations_per_token(bundle.files["model.onnx"])
    with _setting(bundle, encoder, threads) as setting, ExitStack() as stack:
        systems = []
        for name in SYSTEMS:
            say(f"loading {name}")
            system = SystemProcess(name, setting)
            stack.callback(system.close)
            systems.append(system)
            system.many(pairs[:_WARM_UP])
            system.singles(pairs[:1])
        rates: dict[str, list[float]] = {system.name: [] for system in systems}
        latencies: dict[str, list[float]] = {system.name: [] for system in systems}
        for turn in range(rounds):
            for system in systems:
                say(f"round {turn + 1} of {rounds}: {system.name}")
                rates[system.name].append(len(pairs) / system.many(pairs))
                some = [pairs[(turn * singles + n) % len(pairs)] for n in range(singles)]
                latencies[system.name] += system.singles(some)
        results = {}
        for system in systems:
            per_second = statistics.median(rates[system.name]) * tokens / len(pairs)
            kind = {OURS: precision, OURS_FP32: "fp32"}.get(system.name)
            results[system.name] = SystemResult(
                tuple(rates[system.name]),
                per_second,
                tuple(latencies[system.name]),
                system.peak_memory(),
                system.load_seconds,
                None if kind is None else per_second * each_token / peaks[kind],
            )
    say("measuring import time and installed size")
    return Benchmark(
        bundle=bundle.id,
        replies=len(pairs),
        tokens=tokens,
        threads=threads,
        systems=results,
        peaks=peaks,
        import_seconds=import_seconds(),
        installed={"base": installed_bytes(), "train": installed_bytes("train", "offline")},
    )


@contextmanager
def _setting(bundle: Bundle, folder: str | None, threads: int) -> Iterator[Setting]:
    """The bundle and, with fresh heads, its architecture, as files for all systems."""
    stated = bundle.manifest["encoder"]
    config = load_config()
    source = find_encoder(
        EncoderConfig(
            name=stated["name"],
            path=folder,
            layers=stated.get("layers"),
            pieces_left_out=None,  # which rows of a table are read does not change the time
            init_from=None,
            sha256=stated["sha256"],
        )
    )
    encoder = load_encoder(source, config.model, attention="eager")
    heads = bundle.heads
    model = LabelAttentionModel(encoder, heads.tasks.size).eval()
    exported = export_onnx(model, opset=config.export.opset)
    fp32 = fuse(exported, encoder.config, every=False).model.SerializeToString()
    with tempfile.TemporaryDirectory() as place:
        paths = [Path(place, name) for name in ("exported.onnx", "fp32.onnx")]
        for path, content in zip(paths, (exported, fp32), strict=True):
            path.write_bytes(content)
        plain, ours = map(str, paths)
        # Unpacked: who loads it shall not wait for an archive or for MLflow.
        unpacked = Path(place, "bundle")
        unpacked.mkdir()
        for name, content in bundle.files.items():
            (unpacked / name).write_bytes(content)
        yield Setting(
            *(str(unpacked), str(source.folder), plain, ours),
            *(heads.to_json(), heads.tasks.size, threads),
        )


_ROUNDS = 5


def import_seconds() -> float:
    """Median seconds of ``import tactful`` in a fresh interpreter, less an empty one's start."""
    whole: list[float] = []
    empty: list[float] = []
    for _ in range(_ROUNDS):
        for code, seconds in (("import tactful", whole), ("pass", empty)):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds.append(time.perf_counter() - begin)
    return statistics.median(whole) - statistics.median(empty)


def installed_bytes(*extras: str) -> int:
    """Size of tactful and all that it requires, as installed in this environment.

    Args:
        extras: those to count; packages that are not installed here count nothing.
    """
    seen: set[tuple[str, str]] = set()
    waiting = [("tactful", extra) for extra in ("", *extras)]
    sizes: dict[str, int] = {}
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        sizes[name] = sum(_size(Path(str(file.locate()))) for file in found.files or ())
        for line in found.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, each) for each in ("", *requirement.extras)]
    return sum(sizes.values())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
