"""A trained model that another one learns from: opened, checked, asked once, its answers kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
import transformers
from torch import Tensor

from tactful.reading.batches import run_rows
from tactful.reading.encoding import EncodingLimits, ReplyEncoding
from tactful.reading.tasks import Tasks
from tactful.storage import write_file
from tactful.strict_json import canonical_json, sha256_hex
from tactful_training.config.config_schema import DistillConfig
from tactful_training.data.labelled_row import Row
from tactful_training.errors import EncoderError
from tactful_training.fitting.encoder import blank_encoder
from tactful_training.fitting.encoder_layers import depth
from tactful_training.fitting.hardware import device_for_training
from tactful_training.fitting.model import LabelAttentionModel, States, torch_forward
from tactful_training.fitting.soft_label_file import text_digest
from tactful_training.fitting.soft_labels import SoftLabels
from tactful_training.fitting.trained_weights import TrainedWeights, read_weights
from tactful_training.fitting.vocabulary import numbers_among

_KEY = "distill.teacher"


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained model, ready to be asked.

    Attributes:
        source: where its weights come from.
        encoding: from texts to its tokens, within the limits of the student.
        columns: int64 ``[L]``, where the student's labels are on its own label axis.
        numbers: int64 ``[V]``, its number of each of the student's pieces; None where these were
            not asked for, or the student's tokenizer is neither its own nor that without some.
        model: in evaluation mode.
    """

    source: TrainedWeights
    encoding: ReplyEncoding
    columns: np.typing.NDArray[np.int64]
    numbers: Tensor | None
    model: LabelAttentionModel

    def read(self, rows: Sequence[Row]) -> list[SoftLabels]:
        """What it says of rows."""
        device = device_for_training()
        self.model.to(device)
        encoded = self.encoding.encode([(row.reply, row.context) for row in rows])
        outputs = run_rows(encoded, self.encoding, torch_forward(self.model), self.source.tasks)
        return [
            SoftLabels(
                each.logits[self.columns],
                each.encoded.offsets,
                each.token_scores[:, self.columns].astype(np.float16),
            )
            for each in outputs
        ]

    def states(self, inputs: dict[str, Tensor]) -> States:
        """What it has inside for windows of the student's tokens, without gradients.

        Args:
            inputs: ``input_ids``, ``attention_mask`` and ``token_type_ids``, ``[W, T]``.
        """
        assert self.numbers is not None  # `check_student` refuses others
        states, device = States(), inputs["input_ids"].device
        self.model.to(device)
        own = {**inputs, "input_ids": self.numbers.to(device)[inputs["input_ids"]]}
        with torch.no_grad():
            self.model(**own, states=states)
        return states


def open_teacher(
    address: str, tasks: Tasks, limits: EncodingLimits, tokenizer: bytes | None = None
) -> Teacher:
    """Open a teacher for a student.

    Args:
        address: ``runs:/RUN``, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION`` or a folder.
        tasks: the student's.
        limits: the student's.
        tokenizer: the student's ``tokenizer.json``; None where the student learns neither hidden
            states nor attention.

    Raises:
        EncoderError: it is not found or cannot be opened, has other labels, or cannot read texts as
            long as the student's.
    """
    source = read_weights(address, _KEY)
    columns = _columns(address, source.tasks, tasks)
    try:
        # Eager attention, since the faster ways do not tell what it looked at.
        encoder = blank_encoder(source.settings)
        model = LabelAttentionModel(encoder, source.tasks.size)
        model.load_state_dict(dict(source.weights))
        own = ReplyEncoding(source.tokenizer, limits)
        numbers = None if tokenizer is None else numbers_among(tokenizer, source.tokenizer)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise EncoderError(f"{_KEY}: {address} cannot be opened: {error}") from error
    positions = getattr(encoder.config, "max_position_embeddings", None)
    if positions is not None and limits.max_tokens > positions:
        raise EncoderError(
            f"{_KEY}: {address} reads at most {positions} tokens, encoding.max_tokens is "
            f"{limits.max_tokens}"
        )
    found = None if numbers is None else torch.tensor(numbers)
    return Teacher(source, own, columns, found, model.eval())


def check_student(
    teacher: Teacher, student: transformers.PreTrainedConfig, config: DistillConfig
) -> None:
    """Check that a student can learn what the config says from a teacher.

    Raises:
        EncoderError: it is wider than its teacher, or their insides cannot be compared.
    """
    theirs, where = teacher.model.encoder.config, teacher.source.address
    width, wide = int(student.hidden_size), int(theirs.hidden_size)
    if width > wide:
        raise EncoderError(
            f"{_KEY}: the student is {width} wide, wider than its teacher {where} ({wide}); let "
            "the larger one teach, or choose a smaller encoder"
        )
    if not config.reads_states:
        return
    if teacher.numbers is None:
        raise EncoderError(
            f"{_KEY}: {where} has another tokenizer than the student, whose tokens have no "
            "counterpart among its own: set distill.hidden_weight and distill.attention_weight to "
            "0 (logits and token scores can still be learnt)"
        )
    if config.hidden_weight and width != wide:
        raise EncoderError(
            f"distill.hidden_weight: hidden states of {width} numbers (the student) and {wide} "
            f"({where}) cannot be compared; set it to 0"
        )
    heads = [int(each.num_attention_heads) for each in (student, theirs)]
    if config.attention_weight and heads[0] != heads[1]:
        raise EncoderError(
            f"distill.attention_weight: {heads[0]} attention heads (the student) and {heads[1]} "
            f"({where}) cannot be compared; set it to 0"
        )
    layers_of_teacher(config, depth(student), depth(theirs))


def layers_of_teacher(config: DistillConfig, student: int, teacher: int) -> list[int]:
    """The teacher's layer that each layer of the student is compared with.

    Args:
        config: names them, or spreads them evenly (as TinyBERT, Jiao et al. 2020).
        student: number of its layers.
        teacher: number of its layers.

    Raises:
        EncoderError: there is no such layer, or not one for each of the student's.
    """
    if config.teacher_layers is None:
        if student > teacher:
            raise EncoderError(
                f"{_KEY}: the student has {student} layers, its teacher {teacher}; name the "
                "teacher's layer for each in distill.teacher_layers"
            )
        return [(layer + 1) * teacher // student - 1 for layer in range(student)]
    if len(config.teacher_layers) != student:
        raise EncoderError(
            f"distill.teacher_layers names {len(config.teacher_layers)} layers; it must name one "
            f"for each of the student's {student}"
        )
    if missing := [layer for layer in config.teacher_layers if layer >= teacher]:
        raise EncoderError(
            f"distill.teacher_layers names layer {missing[0]}, but the teacher has {teacher}, "
            f"numbered from 0 to {teacher - 1}"
        )
    return list(config.teacher_layers)


def ask_once(teacher: Teacher, rows: Sequence[Row], cache: Path) -> list[SoftLabels]:
    """What a teacher says of rows, from a file where it was asked before.

    Args:
        teacher: who is asked.
        rows: the training split.
        cache: the file; made where it is missing.

    Raises:
        EncoderError: the file holds other answers than those, or cannot be read or written.
    """
    identity = _identity(teacher, rows)
    if cache.exists():
        return _read_cache(cache, identity)
    soft = teacher.read(rows)
    arrays = {
        "logits": np.stack([each.logits for each in soft]),
        "tokens": np.array([len(each.offsets) for each in soft]),
        "offsets": np.concatenate([each.offsets for each in soft]),
        "token_scores": np.concatenate([each.token_scores for each in soft]),
    }
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        # Written row by row, in whatever order memory holds them.
        content = {name: np.ascontiguousarray(each) for name, each in arrays.items()}
        write_file(cache, safetensors.numpy.save(content, metadata=identity))
    except OSError as error:
        raise EncoderError(f"the teacher's answers cannot be kept in {cache}: {error}") from error
    return soft


def _identity(teacher: Teacher, rows: Sequence[Row]) -> dict[str, str]:
    """Digests of everything that the answers depend on."""
    texts = [[row.id, text_digest(row)] for row in rows]
    labels = [list(pair) for pair in teacher.source.tasks.columns]
    encoding = {
        **teacher.encoding.limits.to_json(),
        "tokenizer": sha256_hex(teacher.source.tokenizer),
    }
    return {
        "teacher": teacher.source.sha256,
        "labels": sha256_hex(canonical_json([labels, teacher.columns.tolist()])),
        "rows": sha256_hex(canonical_json(texts)),
        "encoding": sha256_hex(canonical_json(encoding)),
    }


def _read_cache(cache: Path, identity: dict[str, str]) -> list[SoftLabels]:
    try:
        with safetensors.safe_open(cache, framework="numpy") as file:
            made_with = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise EncoderError(
            f"the teacher's answers in {cache} cannot be read: {error}; remove the file"
        ) from error
    if other := [name for name, value in identity.items() if made_with.get(name) != value]:
        told = "; ".join(
            f"{name} {made_with.get(name, 'unknown')[:12]} there, {identity[name][:12]} now"
            for name in other
        )
        raise EncoderError(
            f"the answers in {cache} are not those of this teacher to this training ({told}); "
            "remove the file or name another one in distill.cache"
        )
    ends = np.cumsum(arrays["tokens"])[:-1]
    parts = (np.split(arrays[name], ends) for name in ("offsets", "token_scores"))
    return [SoftLabels(*each) for each in zip(arrays["logits"], *parts, strict=True)]


def _columns(address: str, theirs: Tasks, ours: Tasks) -> np.typing.NDArray[np.int64]:
    """Where our labels are on the teacher's label axis."""
    kinds = {task.name: task.kind for task in theirs}
    problems = []
    for task in ours:
        if kinds.get(task.name) != task.kind:
            found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            problems.append(f"it has no {task.kind} task {task.name!r}; its tasks: {found}")
            continue
        known = set(theirs.named(task.name).names)
        if lacking := [label for label in task.names if label not in known]:
            problems.append(f"{task.name}: it does not know {', '.join(lacking)}")
        if more := sorted(known - set(task.names)):
            problems.append(f"{task.name}: it knows {', '.join(more)}, which the data set does not")
    if problems:
        raise EncoderError(
            f"{_KEY}: {address} was trained for other labels than the data set's: "
            f"{'; '.join(problems)}"
        )
    return np.array([theirs.columns[pair] for pair in ours.columns], dtype=np.int64)
