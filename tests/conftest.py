"""A small real bundle: a WordPiece tokenizer and an ONNX graph with label-wise attention.

The graph is built by hand, so that serving is tested without training: a few words carry a label
each, and a little of every other token (the context too) reaches each label.
"""

from __future__ import annotations

import json
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tactful import BundleError, Classifier
from tactful.bundle.goldens import goldens_to_jsonl, make_goldens
from tactful.bundle.manifest_check import describe_files, manifest_bytes, manifest_digest
from tactful.bundle.writing import write_bundle
from tactful.reading.decisions import Heads, TaskHead
from tactful.reading.encoding import EncodingLimits
from tactful.reading.engine import Engine
from tactful.reading.tasks import Task
from tactful.strict_json import canonical_json

# Timings belong in benchmarks: no example fails for being slow.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

WORDS = {
    "apology": ["sorry", "apologies"],
    "gratitude": ["thank", "thanks"],
    "next_step": ["will", "next"],
    "warm": ["friend", "glad"],
    "neutral": ["order", "parcel"],
}
PLAIN = ["i", "am", "so", "you", "for", "your", "the", "call", "we", "my", "is", "and", "late"]
LABELS = list(WORDS)
GOLDEN_PAIRS = [
    ("I am so sorry, friend.", None),
    ("Thank you for your order. We will call you.", "my parcel is late"),
    ("ok", None),
    ("the parcel is late and " * 40 + "sorry", "my order"),  # several windows
]


def tiny_tokenizer() -> bytes:
    alphabet = string.ascii_lowercase + string.digits + string.punctuation
    words = [word for concept in WORDS.values() for word in concept]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *alphabet, *words, *PLAIN]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(tokens[:5])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    # As shipped by real encoders; the encoding must not inherit these.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    return tokenizer.to_str().encode()


def tiny_model(tokenizer: bytes, labels: int = len(LABELS), opset: int = 17) -> onnx.ModelProto:
    vocabulary = Tokenizer.from_buffer(tokenizer).get_vocab()
    random = np.random.default_rng(13)
    embedding = random.normal(0, 0.05, (len(vocabulary), labels)).astype(np.float32)
    for column, label in enumerate(LABELS[:labels]):
        for word in WORDS[label]:
            embedding[vocabulary[word], column] = 1
    weights = {
        "embedding": embedding,
        "segment": random.normal(0, 0.05, (2, labels)).astype(np.float32),
        "attend": np.eye(labels, dtype=np.float32) * 6,
        "score": np.eye(labels, dtype=np.float32) * 8,
        "bias": np.full(labels, -4, dtype=np.float32),
        "never": np.array(-1e4, dtype=np.float32),
        "one": np.array(1, dtype=np.float32),
        "last": np.array([2], dtype=np.int64),
        "second": np.array([1], dtype=np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["embedding", "input_ids"], ["words"]),
        node("Gather", ["segment", "token_type_ids"], ["segments"]),
        node("Add", ["words", "segments"], ["alone"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["mask3"]),
        node("Mul", ["alone", "mask3"], ["present"]),
        node("ReduceSum", ["present", "second"], ["sum"]),
        node("ReduceSum", ["mask3", "second"], ["count"]),
        node("Div", ["sum", "count"], ["mean"]),
        node("Add", ["alone", "mean"], ["hidden"]),
        node("MatMul", ["hidden", "score"], ["unbiased"]),
        node("Add", ["unbiased", "bias"], ["token_scores"]),
        node("MatMul", ["hidden", "attend"], ["attention"]),
        node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        node("Mul", ["types", "mask"], ["reply"]),
        node("Sub", ["one", "reply"], ["outside"]),
        node("Mul", ["outside", "never"], ["penalty"]),
        node("Unsqueeze", ["penalty", "last"], ["penalty3"]),
        node("Add", ["attention", "penalty3"], ["masked"]),
        node("Softmax", ["masked"], ["weights"], axis=1),
        node("Mul", ["weights", "token_scores"], ["weighted"]),
        node("ReduceSum", ["weighted", "second"], ["logits"], keepdims=0),
    ]
    names = ("input_ids", "attention_mask", "token_type_ids")
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["W", "T"]) for name in names],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["W", labels]),
            helper.make_tensor_value_info("token_scores", TensorProto.FLOAT, ["W", "T", labels]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="tests"
    )


def tiny_heads() -> Heads:
    strategies = Task("strategies", "multilabel", {name: f"says {name}" for name in LABELS[:3]})
    tone = Task("tone", "single", {name: f"sounds {name}" for name in LABELS[3:]})
    return Heads(
        (
            TaskHead(
                strategies,
                slope=np.array([1.0, 1.1, 0.9]),
                intercept=np.array([0.1, -0.2, 0.3]),
                thresholds=np.array([0.5, 0.43, 0.6]),
                evidence_thresholds=np.array([0.5, 0.5, 0.5]),
            ),
            TaskHead(tone, slope=np.array([0.8, 0.8]), intercept=np.zeros(2)),
        ),
        EncodingLimits(max_tokens=48, max_windows=6, window_overlap=8),
    )


def tiny_files() -> dict[str, bytes]:
    heads, tokenizer = tiny_heads(), tiny_tokenizer()
    model = tiny_model(tokenizer).SerializeToString()
    goldens = make_goldens(Engine(heads, tokenizer, model, threads=1), GOLDEN_PAIRS)
    return {
        "model.onnx": model,
        "tokenizer.json": tokenizer,
        "labels.json": canonical_json(heads.to_json()) + b"\n",
        "golden.jsonl": goldens_to_jsonl(goldens),
        "README.md": "# tiny\n\nA model card with é and 🙂.\n".encode(),
    }


TINY_FIELDS: dict[str, Any] = {
    "name": "tiny",
    "version": "0.1.0",
    "golden_tolerance": 0.001,
    "encoder": {"name": "tests/tiny", "sha256": None},
}


@pytest.fixture(scope="session")
def bundle_parts() -> dict[str, bytes]:
    """The files of a sound bundle, all but its manifest; copy before changing."""
    return tiny_files()


@pytest.fixture(scope="session")
def manifest_fields() -> dict[str, Any]:
    return TINY_FIELDS


@pytest.fixture(scope="session")
def sound_bundle(tmp_path_factory: pytest.TempPathFactory, bundle_parts: dict[str, bytes]) -> Path:
    """A sound bundle on disk that all tests share; never write into it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_bundle(folder, manifest_fields=TINY_FIELDS, files=bundle_parts)
    return folder


@pytest.fixture
def bundle_copy(sound_bundle: Path, tmp_path: Path) -> Path:
    """A sound bundle of the test's own, to be broken."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in sound_bundle.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture(scope="session")
def classifier(sound_bundle: Path) -> Classifier:
    return Classifier.load(sound_bundle, threads=1)


@pytest.fixture(scope="session")
def problems() -> Callable[[Path], str]:
    """What the BundleError says that loading a bundle must raise."""

    def load(path: Path) -> str:
        with pytest.raises(BundleError) as caught:
            Classifier.load(path, threads=1)
        assert caught.value.problems
        return str(caught.value)

    return load


@pytest.fixture(scope="session")
def rehash() -> Callable[..., None]:
    """Write a manifest that agrees with whatever lies in a bundle's folder."""

    def write(folder: Path, **fields: Any) -> None:
        path = folder / "manifest.json"
        manifest = {**json.loads(path.read_bytes()), **fields}
        if "files" not in fields:
            names = sorted(set(manifest["files"]))
            contents = {name: (folder / name).read_bytes() for name in names}
            manifest["files"] = describe_files(contents)
        manifest["digest"] = manifest_digest(manifest)
        path.write_bytes(manifest_bytes(manifest))

    return write


@pytest.fixture(scope="session")
def score(sound_bundle: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Runs ``tactful score``, the bundle given."""
    program = [sys.executable, "-m", "tactful.cli", "score"]
    environment = {"TACTFUL_BUNDLE": str(sound_bundle), "OMP_NUM_THREADS": "1"}

    def run(
        *arguments: str | Path, stdin: bytes = b"", **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*program, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            check=False,
            env=environment,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def model_builder() -> Callable[..., onnx.ModelProto]:
    """`tiny_model`: a graph for a tokenizer, with other numbers of labels or another opset."""
    return tiny_model


WITHOUT_FCNTL = """
import builtins, warnings
warnings.simplefilter("ignore")
real = builtins.__import__

def without(name, globals=None, *rest, **options):
    user = (globals or {}).get("__name__", "")
    if name == "fcntl" and user.split(".")[0] in ("tactful", "tactful_training", "filelock"):
        raise ImportError("there is no fcntl here")
    return real(name, globals, *rest, **options)

builtins.__import__ = without
"""


@pytest.fixture(scope="session")
def without_fcntl() -> Callable[..., list[str]]:
    """Runs a program on a system without ``fcntl``: the lines that it prints.

    Libraries may know other ways there; what is ours, and the locks, must do without.
    """

    def run(program: str, *arguments: object, cwd: Path | None = None) -> list[str]:
        ran = subprocess.run(
            [sys.executable, "-c", WITHOUT_FCNTL + program, *map(str, arguments)],
            capture_output=True, text=True, cwd=cwd,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()

    return run
