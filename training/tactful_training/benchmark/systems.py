"""What is compared: each system loads itself and labels (reply, context) pairs.

The time of a product does not depend on the values of its weights, so that the peers run the
pretrained encoder of the bundle with new heads for as many labels. What else they do is what their
users would write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tactful_training.benchmark.setting import Setting

if TYPE_CHECKING:
    from tactful.classifier import Classifier
    from tactful.reading.stream import Pair

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
    from tactful.bundle.loading import Bundle
    from tactful.classifier import Classifier
    from tactful.reading.decisions import Heads
    from tactful.reading.engine import Engine

    engine = Engine(
        Heads.from_json(setting.heads),
        (Path(setting.encoder) / "tokenizer.json").read_bytes(),
        Path(setting.fp32).read_bytes(),
        threads=setting.threads,
    )
    manifest = {"name": "fp32", "digest": ""}
    return _classifier(Classifier(Bundle(manifest, golden=(), card="", engine=engine)))


def open_pipeline_fp32(setting: Setting) -> System:
    """`transformers.pipeline`, fp32, batches of 32 padded to their longest."""
    return _pipeline(setting, PEER_BATCH, bf16=False)


def open_pipeline_bf16(setting: Setting) -> System:
    """The same under bf16 autocast."""
    return _pipeline(setting, PEER_BATCH, bf16=True)


def open_pipeline_single(setting: Setting) -> System:
    """`transformers.pipeline`, fp32, one reply at a time."""
    return _pipeline(setting, 1, bf16=False)


def open_pipeline_single_bf16(setting: Setting) -> System:
    """The same under bf16 autocast."""
    return _pipeline(setting, 1, bf16=True)


def open_plain_onnx(setting: Setting) -> System:
    """onnxruntime as it comes: the exported graph, batches of 32 in the order given."""
    import onnxruntime

    from tactful.reading.encoding import EncodingLimits, ReplyEncoding

    encoding = ReplyEncoding(
        (Path(setting.encoder) / "tokenizer.json").read_bytes(),
        EncodingLimits(setting.heads["max_tokens"], 1, 0, setting.heads["use_context"]),
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    session = onnxruntime.InferenceSession(
        setting.exported, options, providers=["CPUExecutionProvider"]
    )

    def many(pairs: Sequence[Pair]) -> None:
        for start in range(0, len(pairs), PEER_BATCH):
            some = encoding.encode(pairs[start : start + PEER_BATCH])
            batch = encoding.collate([row.windows[0] for row in some])
            session.run(
                None,
                {
                    "input_ids": batch.input_ids,
                    "attention_mask": batch.attention_mask,
                    "token_type_ids": batch.token_type_ids,
                },
            )

    return System(many, lambda pair: many([pair]))


SYSTEMS: dict[str, Callable[[Setting], System]] = {
    "tactful": open_tactful,
    "tactful, fp32": open_tactful_fp32,
    "onnxruntime, fp32, batches of 32": open_plain_onnx,
    "transformers pipeline, fp32, batches of 32": open_pipeline_fp32,
    "transformers pipeline, bf16, batches of 32": open_pipeline_bf16,
    "transformers pipeline, fp32, one by one": open_pipeline_single,
    "transformers pipeline, bf16, one by one": open_pipeline_single_bf16,
}
"""All systems by the name they have in the report."""


def _classifier(classifier: Classifier) -> System:
    def many(pairs: Sequence[Pair]) -> None:
        for _ in classifier.classify_many(pairs):
            pass

    def single(pair: Pair) -> None:
        classifier.classify(*pair)

    return System(many, single)


def _pipeline(setting: Setting, batch_size: int, *, bf16: bool) -> System:
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
