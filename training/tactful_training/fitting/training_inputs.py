"""What a run starts from: checked rows, the encoder and the encoding that both fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
import transformers
from numpy.typing import NDArray

from tactful.reading.encoding import Pair, ReplyEncoding
from tactful.reading.tasks import Tasks
from tactful.strict_json import sha256_hex
from tactful_training.config.config_file import digest, load_config
from tactful_training.config.config_schema import Config
from tactful_training.config.shipped_files import DEFAULT_CONFIG, shipped_root
from tactful_training.data.joined_sets import JoinedSets, load_sets
from tactful_training.data.labelled_row import Row, targets
from tactful_training.errors import DataError, EncoderError
from tactful_training.fitting.encoder import EncoderSource, find_encoder
from tactful_training.fitting.soft_label_file import SOFT_LABELS, SoftLabelFile, read_soft_labels
from tactful_training.fitting.soft_labels import SoftLabels, mean_of
from tactful_training.fitting.teacher import Teacher, ask_once, open_teacher
from tactful_training.fitting.trained_weights import TrainedWeights, read_start
from tactful_training.fitting.training_batches import Example, encode_rows

# BERT's and RoBERTa's.
_MASK_TOKENS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class TrainingInputs:
    """Everything that training reads.

    Attributes:
        data: the data sets, mostly one.
        rows: split name to the rows that are used, set after set.
        sizes: split name to how many of them are each set's.
        left_out: train rows that are not used, since another set measures on them.
        encoder: where the pretrained encoder lies.
        encoding: from texts to tokens.
        start: weights of an earlier training to start from; None starts from the encoder alone.
        teacher: who is asked about the training rows; its answers are learnt beside the labels.
        soft_labels: answers of others, from a file; with a teacher the mean of both is learnt.
    """

    data: JoinedSets
    rows: Mapping[str, list[Row]]
    sizes: Mapping[str, tuple[int, ...]]
    encoder: EncoderSource
    encoding: ReplyEncoding
    start: TrainedWeights | None = None
    teacher: Teacher | None = None
    soft_labels: SoftLabelFile | None = None
    left_out: tuple[str, ...] = ()

    @property
    def tasks(self) -> Tasks:
        """The tasks of the data sets."""
        return self.data.tasks

    @property
    def weights(self) -> NDArray[np.float32]:
        """What each train row weighs in the loss, ``[R]``."""
        return self.data.weights(self.sizes["train"])

    def of_sets(self, split: str) -> dict[str, range]:
        """Name of a set to the places of its rows among those of a split."""
        ends = np.cumsum((0, *self.sizes[split])).tolist()
        names = [member.name for member in self.data.members]
        return {name: range(*ends[at : at + 2]) for at, name in enumerate(names)}

    @cached_property
    def validation(self) -> list[Example]:
        """The validation split, encoded."""
        return encode_rows(self.rows["validation"], self.encoding, self.tasks)

    def sample(self, split: str, count: int, seed: int) -> list[Pair]:
        """Some (reply, context) pairs of a split, drawn by a seed."""
        rows = self.rows[split]
        drawn = np.random.default_rng(seed).permutation(len(rows))[:count]
        return [(rows[index].reply, rows[index].context) for index in drawn.tolist()]

    def mask_id(self, config: Config) -> int:
        """Id of the tokenizer's mask token; 0 where the config hides no tokens.

        Raises:
            EncoderError: tokens are to be hidden, and the tokenizer has none to hide them behind.
        """
        if not config.training.token_dropout:
            return 0
        tokenizer = tokenizers.Tokenizer.from_buffer(self.encoder.tokenizer)
        for name in _MASK_TOKENS:
            if (found := tokenizer.token_to_id(name)) is not None:
                return int(found)
        raise EncoderError(
            f"training.token_dropout is {config.training.token_dropout:g}, but the tokenizer in "
            f"{self.encoder.folder} has no token named {' or '.join(_MASK_TOKENS)} to hide others "
            "behind; set training.token_dropout to 0"
        )

    def identity(self, config: Config) -> dict[str, str]:
        """Digests of everything that makes this run what it is."""
        data = {f"data/{name}": value for name, value in self.data.digests.items()}
        # An address such as models:/tactful@champion may mean other weights tomorrow.
        found = {
            "tokenizer": sha256_hex(self.encoder.tokenizer) if self.encoder.left_out else None,
            "start": self.start and self.start.sha256,
            "teacher": self.teacher and self.teacher.source.sha256,
            "soft_labels": self.soft_labels and self.soft_labels.sha256,
        }
        others = {name: value for name, value in found.items() if value is not None}
        return {"config": digest(config), "encoder": self.encoder.sha256, **others, **data}

    def learnt_from(self) -> dict[str, str | None] | None:
        """The teacher and the file of soft labels for the manifest; None without either."""
        found: dict[str, str | None] = {}
        if self.teacher is not None:
            found |= self.teacher.source.to_json()
        if self.soft_labels is not None:
            found["soft_labels"] = self.soft_labels.path.name
            found["soft_labels_sha256"] = self.soft_labels.sha256
        return found or None

    def soft(self, cache: Path) -> list[SoftLabels | None] | None:
        """What is said of each training row beside its labels; None without anybody who says it.

        Args:
            cache: where the teacher's answers are kept.

        Raises:
            EncoderError: what is kept there are other answers.
        """
        rows = self.rows["train"]
        asked = None if self.teacher is None else ask_once(self.teacher, rows, cache)
        if self.soft_labels is None:
            return None if asked is None else [*asked]
        read = [self.soft_labels.rows.get(row.id) for row in rows]
        if asked is None:
            return read
        return [
            answer if other is None else mean_of([answer, other], self.tasks)
            for answer, other in zip(asked, read, strict=True)
        ]


def load_training_inputs(config: Config) -> TrainingInputs:
    """Read and check what a config names, before anything takes long.

    Raises:
        DataError: the data set, a row or the tasks cannot be used.
        EncoderError: the encoder, the weights to start from or the teacher are not found, are other
            ones or cannot read the data.
    """
    data = load_sets(config.data)
    joined = data.splits(config.data.allow_missing_tasks, config.data.limit)
    _check_tasks(data, joined.rows)
    encoder = find_encoder(config.encoder)
    try:
        encoding = ReplyEncoding(encoder.tokenizer, config.encoding.limits)
    except ValueError as error:
        raise EncoderError(f"{encoder.folder}: {error}") from error
    address = config.encoder.init_from
    start = None if address is None else read_start(address, encoder)
    teacher = soft_labels = None
    if config.distill.teacher is not None:
        name = config.distill.teacher
        tokenizer = encoder.tokenizer if config.distill.reads_states else None
        teacher = open_teacher(name, data.tasks, encoding.limits, tokenizer)
    if (path := _soft_labels_file(config, data)) is not None:
        whole = (
            joined if config.data.limit is None else data.splits(config.data.allow_missing_tasks)
        )
        soft_labels = read_soft_labels(path, whole.rows["train"], data.tasks)
    return TrainingInputs(
        data=data,
        rows=joined.rows,
        sizes=joined.sizes,
        encoder=encoder,
        encoding=encoding,
        start=start,
        teacher=teacher,
        soft_labels=soft_labels,
        left_out=joined.left_out,
    )


def _soft_labels_file(config: Config, data: JoinedSets) -> Path | None:
    """The file that the config names, as it is or beside the data; by default the data's own."""
    name = config.distill.soft_labels
    if name is None:
        return None
    if name == "auto":
        # Rows of several sets have other ids, and may have been left out since.
        path = data.members[0].data.folder / SOFT_LABELS
        return path if len(data.members) == 1 and path.exists() else None
    path = Path(name)
    places = [path, *(member.data.folder / path for member in data.members)]
    return next((place for place in places if place.exists()), path)


def check_fit(model: transformers.PreTrainedModel, inputs: TrainingInputs) -> None:
    """Check that an encoder has room for the windows and knows the tokenizer's tokens.

    Raises:
        EncoderError: it does not.
    """
    where, largest = inputs.encoder.folder, inputs.encoding.largest_id
    max_tokens = inputs.encoding.limits.max_tokens
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and max_tokens > positions:
        raise EncoderError(
            f"encoding.max_tokens is {max_tokens}; the encoder in {where} reads at most "
            f"{positions} tokens: lower encoding.max_tokens"
        )
    if largest >= model.config.vocab_size:
        raise EncoderError(
            f"the tokenizer in {where} knows tokens up to number {largest}, the "
            f"encoder beside it {model.config.vocab_size} tokens: they do not belong together"
        )


def weights_without_task(config: Config, tasks: Tasks) -> list[str]:
    """A warning for each name in ``loss.task_weights`` that is no task, so has no effect.

    The names of the shipped default config are none: every config inherits them.
    """
    names = [task.name for task in tasks]
    inherited = load_config(shipped_root() / "configs" / DEFAULT_CONFIG).loss.task_weights
    lines = []
    for name in config.loss.task_weights:
        if name not in names and name not in inherited:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its tasks: {', '.join(names)}"
            lines.append(
                f"loss.task_weights.{name} has no effect: the data set has no task {name!r}; {hint}"
            )
    return lines


def _check_tasks(data: JoinedSets, rows: Mapping[str, Sequence[Row]]) -> None:
    names = [task.name for task in data.tasks]
    for split, some in rows.items():
        table = targets(some, data.tasks)
        missing = [name for name, at in data.tasks.slices.items() if np.isnan(table[:, at]).all()]
        # A task that cannot be learnt is a mistake; one that cannot be measured may be a choice,
        # as long as something can be.
        if missing and (split == "train" or len(missing) == len(names)):
            files = ", ".join(str(member.data.files[split]) for member in data.members)
            cards = ", ".join(str(member.data.card.path) for member in data.members)
            raise DataError(
                f"{files}: none of the {len(some)} rows used has labels of "
                f"{', '.join(missing)}; label some, or take the task out of {cards}"
            )
