"""The benchmark: all systems side by side in one run, in turns, medians of rounds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TypeVar

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tactful.bundle.loading import Bundle
from tactful.reading.encoding import Pair, ReplyEncoding
from tactful.reading.processor import available_cpus
from tactful_training.benchmark.compared_systems import SYSTEMS, Setting, Spent, SystemProcess
from tactful_training.benchmark.int8_peers import PACKAGES, make_int8_peers
from tactful_training.benchmark.operator_costs import operations_per_token, peak
from tactful_training.bundling.fusion import fuse
from tactful_training.config.config_file import load_config
from tactful_training.config.config_schema import EncoderConfig
from tactful_training.fitting.encoder import find_encoder, load_encoder
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.onnx_export import export_onnx

OURS = "tactful"
_WARM_UP = 64  # replies
Element = TypeVar("Element")


@dataclass(frozen=True)
class SystemResult:
    """One system.

    Attributes:
        rates: replies per second of each round.
        tokens_per_second: of the median round.
        latencies: seconds of single replies, all rounds.
        cpu_seconds: of all processors, per reply of many; the median round.
        single_cpu_seconds: the same of a single reply; the median.
        peak_bytes: most memory of its process.
        load_seconds: until it is ready, imports included.
        peak_share: of the machine's measured peak in matrix products of its numbers.
        quality: F1 on the test split, as the bundle states it; None where nobody measured it.
    """

    rates: tuple[float, ...]
    tokens_per_second: float
    latencies: tuple[float, ...]
    cpu_seconds: float
    single_cpu_seconds: float
    peak_bytes: int
    load_seconds: float
    peak_share: float
    quality: float | None = None

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
        left_out: name of each peer that is not here, and why.
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
    left_out: Mapping[str, str] = field(default_factory=dict)


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
    beside: Sequence[Bundle] = (),
) -> Benchmark:
    """Run it.

    Args:
        bundle: the one to measure.
        pairs: (reply, context) to read; repetitions are read once.
        encoder: folder of the bundle's pretrained encoder; None looks where training looks.
        rounds: turns of each system.
        singles: how many replies of each round are read on their own.
        say: told what goes on.
        beside: further bundles, a small form for example.

    Raises:
        TactfulError: the bundle or its encoder cannot be used, or a system failed.
    """
    pairs = list(dict.fromkeys(pairs))
    threads = available_cpus()
    encoding = ReplyEncoding(
        bundle.files["tokenizer.json"],
        replace(bundle.heads.limits, max_windows=1, window_overlap=0),
    )
    tokens = sum(len(row.windows[0].input_ids) for row in encoding.encode(pairs))
    say("measuring the machine's peak")
    peaks = {name: peak(int8=name == "int8", threads=threads) for name in ("fp32", "int8")}
    named = dict(zip(_names(bundle, beside), beside, strict=True))
    say("making the peers' int8 forms")
    with (
        _setting(bundle, encoder, threads, pairs, encoding, named) as (setting, left_out),
        ExitStack() as stack,
    ):
        systems = []
        for name in [*(each for each in SYSTEMS if each not in left_out), *named]:
            say(f"loading {name}")
            system = SystemProcess(name, setting)
            stack.callback(system.close)
            systems.append(system)
            system.many(pairs[:_WARM_UP])
            system.singles(pairs[:1])
        rounds_of: dict[str, list[Spent]] = {system.name: [] for system in systems}
        singles_of: dict[str, list[Spent]] = {system.name: [] for system in systems}
        for turn in range(rounds):
            for system in systems:
                say(f"round {turn + 1} of {rounds}: {system.name}")
                rounds_of[system.name].append(system.many(pairs))
                some = [pairs[(turn * singles + n) % len(pairs)] for n in range(singles)]
                singles_of[system.name] += system.singles(some)
        results = {}
        for system in systems:
            spent, alone = rounds_of[system.name], singles_of[system.name]
            rates = tuple(len(pairs) / each.wall for each in spent)
            per_second = statistics.median(rates) * tokens / len(pairs)
            of = {OURS: bundle, **named}.get(system.name)
            results[system.name] = SystemResult(
                rates,
                per_second,
                tuple(each.wall for each in alone),
                statistics.median(each.cpu for each in spent) / len(pairs),
                statistics.median(each.cpu for each in alone),
                system.peak_memory(),
                system.load_seconds,
                per_second
                * operations_per_token((of or bundle).files["model.onnx"])
                / peaks[_numbers(system.name, of)],
                _quality(system.name, bundle, of),
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
        left_out=left_out,
    )


def _names(bundle: Bundle, beside: Sequence[Bundle]) -> list[str]:
    """What further bundles are called, each once."""
    seen = Counter({OURS: 1})
    names = []
    for each in beside:
        name = f"{OURS}, {each.manifest['name']}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def _numbers(name: str, bundle: Bundle | None) -> str:
    """Which of the machine's peaks a system is held to."""
    if bundle is not None:
        return str(bundle.manifest.get("precision", "fp32"))
    return "int8" if name in PACKAGES else "fp32"


def _quality(name: str, ours: Bundle, bundle: Bundle | None) -> float | None:
    """The first F1 that a bundle states of its test split; peers in fp32 read as its fp32 form."""
    if name in PACKAGES:
        return None  # their calibration is of a network without trained heads
    metrics: dict[str, dict[str, float]] = (bundle or ours).manifest.get("metrics", {})
    splits = ("test",) if bundle is not None else ("fp32_test", "test")
    stated = next((metrics[split] for split in splits if split in metrics), {})
    found = [value for key, value in stated.items() if key.endswith("micro_f1")]
    return found[0] if found else None


@contextmanager
def _setting(
    bundle: Bundle,
    folder: str | None,
    threads: int,
    pairs: Sequence[Pair],
    encoding: ReplyEncoding,
    beside: Mapping[str, Bundle],
) -> Iterator[tuple[Setting, dict[str, str]]]:
    """The bundles and, with fresh heads, the first one's architecture, as files for all systems.

    With it comes which peers are left out, and why.
    """
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
        unpacked = _unpack(bundle, Path(place, "bundle"))
        more = {
            name: _unpack(each, Path(place, f"bundle-{number}"))
            for number, (name, each) in enumerate(beside.items())
        }
        peers, left_out = make_int8_peers(Path(plain), encoding, pairs, Path(place))
        setting = Setting(
            *(unpacked, str(source.folder), plain, ours),
            *(heads.to_json(), heads.tasks.size, threads),
            int8_peers=peers,
            bundles=more,
        )
        yield setting, left_out


def _unpack(bundle: Bundle, folder: Path) -> str:
    folder.mkdir()
    for name, content in bundle.files.items():
        (folder / name).write_bytes(content)
    return str(folder)


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
