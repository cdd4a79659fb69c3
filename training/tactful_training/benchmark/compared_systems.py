"""What is compared: each system loads itself and labels (reply, context) pairs.

The time of a product does not depend on the values of its weights, so that the peers run the
pretrained encoder of the bundle with new heads for as many labels. What else they do is what their
users would write.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tactful_training.benchmark.int8_peers import (
    OPENVINO,
    OPTIMUM,
    Feed,
    as_feed,
    open_openvino,
)
from tactful_training.errors import RunError

if TYPE_CHECKING:
    from tactful.classifier import Classifier
    from tactful.reading.encoding import Pair


PEER_BATCH = 32


@dataclass(frozen=True)
class System:
    """A loaded system.

    Attributes:
        many: labels all pairs.
        single: labels one pair on its own.
    """

    many: Callable[[Sequence[Pair]], None]
    single: Callable[[Pair], None]


def open_tactful(setting: Setting) -> System:
    """The bundle as it ships."""
    from tactful.classifier import Classifier

    return _classifier(Classifier.load(setting.bundle, threads=setting.threads))


def open_tactful_fp32(setting: Setting) -> System:
    """The same library over the fp32 form, with the bundle's thresholds; nothing to verify."""
    from tactful.classifier import Classifier
    from tactful.reading.decisions import Heads
    from tactful.reading.engine import Engine

    engine = Engine(
        Heads.from_json(setting.heads),
        (Path(setting.encoder) / "tokenizer.json").read_bytes(),
        Path(setting.fp32).read_bytes(),
        threads=setting.threads,
    )
    return _classifier(Classifier(engine))


def open_plain_onnx(setting: Setting) -> System:
    """onnxruntime as it comes: the exported graph, batches of 32 in the order given."""
    return _onnx(setting, setting.exported)


def _open_optimum(setting: Setting) -> System:
    """Optimum's int8 form, as onnxruntime runs it."""
    return _onnx(setting, setting.int8_peers[OPTIMUM])


def _onnx(setting: Setting, path: str) -> System:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(feeds: list[Feed]) -> None:
        for feed in feeds:
            session.run(None, feed)

    return _padded(setting, run, run)


def _open_openvino(setting: Setting) -> System:
    """OpenVINO over the form that NNCF made: batches of 32 side by side, one on all threads."""
    return _padded(setting, *open_openvino(setting.int8_peers[OPENVINO], setting.threads))


def _padded(
    setting: Setting, many: Callable[[list[Feed]], None], one: Callable[[list[Feed]], None]
) -> System:
    """Batches of 32 in the order given, padded to their longest."""
    from tactful.reading.encoding import EncodingLimits, ReplyEncoding

    encoding = ReplyEncoding(
        (Path(setting.encoder) / "tokenizer.json").read_bytes(),
        EncodingLimits(setting.heads["max_tokens"], 1, 0, setting.heads["use_context"]),
    )

    def feeds(pairs: Sequence[Pair]) -> list[Feed]:
        return [
            as_feed(
                encoding.collate(
                    [row.windows[0] for row in encoding.encode(pairs[at : at + PEER_BATCH])]
                )
            )
            for at in range(0, len(pairs), PEER_BATCH)
        ]

    return System(lambda pairs: many(feeds(pairs)), lambda pair: one(feeds([pair])))


def _classifier(classifier: Classifier) -> System:
    def many(pairs: Sequence[Pair]) -> None:
        for _ in classifier.classify_many(pairs):
            pass

    def single(pair: Pair) -> None:
        classifier.classify(*pair)

    return System(many, single)


def _pipeline(setting: Setting, *, batch_size: int = 1, bf16: bool = False) -> System:
    """`transformers.pipeline`, its batches padded to their longest, bf16 by autocast."""
    import torch
    import transformers

    torch.set_num_threads(setting.threads)
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = transformers.AutoTokenizer.from_pretrained(setting.encoder, local_files_only=True)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        setting.encoder, num_labels=setting.labels, local_files_only=True, dtype="float32"
    )
    pipe = transformers.pipeline(
        "text-classification",
        model=model.eval(),
        tokenizer=tokenizer,
        device="cpu",
        top_k=None,
        function_to_apply="sigmoid",
        truncation=True,
        max_length=setting.heads["max_tokens"],
    )
    options: dict[str, Any] = {} if batch_size == 1 else {"padding": True}

    def entry(pair: Pair) -> dict[str, str]:
        reply, context = pair
        if context and setting.heads["use_context"]:
            return {"text": context, "text_pair": reply}
        return {"text": reply}

    def run(texts: dict[str, str] | list[dict[str, str]]) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            pipe(texts, batch_size=batch_size, **options)

    return System(lambda pairs: run([entry(pair) for pair in pairs]), lambda pair: run(entry(pair)))


PYTORCH = "transformers pipeline, fp32, batches of 32"
"""What others are measured by."""
SYSTEMS: dict[str, Callable[[Setting], System]] = {
    "tactful": open_tactful,
    "tactful, fp32": open_tactful_fp32,
    OPENVINO: _open_openvino,
    OPTIMUM: _open_optimum,
    "onnxruntime, fp32, batches of 32": open_plain_onnx,
    PYTORCH: partial(_pipeline, batch_size=PEER_BATCH),
    "transformers pipeline, bf16, batches of 32": partial(
        _pipeline, batch_size=PEER_BATCH, bf16=True
    ),
    "transformers pipeline, fp32, one by one": _pipeline,
    "transformers pipeline, bf16, one by one": partial(_pipeline, bf16=True),
}
"""All systems by the name they have in the report."""


@dataclass(frozen=True)
class Setting:
    """What all systems of one benchmark share.

    Attributes:
        bundle: folder of the bundle.
        encoder: folder of its pretrained encoder.
        exported: its architecture as a plain ONNX file, fp32, nothing fused.
        fp32: the same in the form in which tactful serves fp32.
        heads: the content of the bundle's ``labels.json``.
        labels: how many labels it has.
        threads: for each system.
        int8_peers: name of each other int8 engine that is here to its model file.
        bundles: name of each further bundle in the report to its folder.
    """

    bundle: str
    encoder: str
    exported: str
    fp32: str
    heads: dict[str, Any]
    labels: int
    threads: int
    int8_peers: dict[str, str] = field(default_factory=dict)
    bundles: dict[str, str] = field(default_factory=dict)


class Spent(NamedTuple):
    """Seconds: those of the clock, and those of all processors together."""

    wall: float
    cpu: float


class SystemProcess:
    """A system that works on demand and is silent in between.

    Args:
        name: one of `SYSTEMS`, or of a further bundle.
        setting: what all systems share.

    Attributes:
        load_seconds: from the start of its process until it is ready: interpreter, imports, model.
    """

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, setting), daemon=True)
        begin = time.perf_counter()
        self._process.start()
        theirs.close()
        self._answer()
        self.load_seconds = time.perf_counter() - begin

    def many(self, pairs: Sequence[Pair]) -> Spent:
        """What all pairs took."""
        answer: Spent = self._ask("many", pairs)
        return answer

    def singles(self, pairs: Sequence[Pair]) -> list[Spent]:
        """What each pair took on its own."""
        answer: list[Spent] = self._ask("singles", pairs)
        return answer

    def peak_memory(self) -> int:
        """Most bytes that the process has had in memory so far."""
        return int(self._ask("memory", ()))

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()

    def _ask(self, what: str, pairs: Sequence[Pair]) -> Any:
        try:
            self._pipe.send((what, pairs))
        except OSError as error:
            raise RunError(f"{self.name}: its process has ended") from error
        return self._answer()

    def _answer(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError as error:
            raise RunError(f"{self.name}: its process ended without an answer") from error
        if kind == "error":
            raise RunError(f"{self.name}: {value}")
        return value


def _serve(pipe: Connection, name: str, setting: Setting) -> None:
    try:
        if name in setting.bundles:
            system = open_tactful(replace(setting, bundle=setting.bundles[name]))
        else:
            system = SYSTEMS[name](setting)
        pipe.send(("done", None))
        while True:
            what, pairs = pipe.recv()
            if what == "memory":
                pipe.send(("done", _peak_memory()))
            elif what == "many":
                pipe.send(("done", _spent(system.many, pairs)))
            else:
                pipe.send(("done", [_spent(system.single, pair) for pair in pairs]))
    except EOFError:
        pass  # closed
    except Exception as error:  # of any library: the benchmark names the system
        pipe.send(("error", f"{type(error).__name__}: {error}"))


def _spent(read: Callable[[Any], None], given: Any) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    read(given)
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def _peak_memory() -> int:
    # Not getrusage: it remembers the parent's size from before exec.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RunError("/proc/self/status has no VmHWM; peak memory can be measured on Linux only")
