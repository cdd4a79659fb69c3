"""Training replies that the model reads like another one, kept in the model's file.

Of each its id and the probabilities of all labels, before calibration, in bytes. They stand in the
metadata of ``model.onnx``, which a tactful that knows nothing of them passes over, and which a copy
of the model takes along. No text is kept: whoever has the rows finds them by their ids.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tactful.errors import ModelError
from tactful.reading.decision_receipt import Neighbour
from tactful.reading.decisions import Floats, sigmoid

IDS, SCORES = "tactful.neighbours.ids", "tactful.neighbours.scores"
"""Keys of the metadata: a JSON list, and uint8 ``[N, L]`` in base64."""
_CERTAIN = 255  # the byte of a probability of 1


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Training replies as the model reads them.

    Attributes:
        ids: of the rows.
        scores: uint8 ``[N, L]``, probabilities from 0 to 255.
    """

    ids: Sequence[str]
    scores: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, ids: Sequence[str], logits: Floats) -> Neighbours:
        """Of raw logits, ``[N, L]``."""
        return cls(ids, np.rint(sigmoid(logits) * _CERTAIN).astype(np.uint8))

    def to_metadata(self) -> dict[str, str]:
        """As entries of a model's metadata; none of no rows."""
        if not self.ids:
            return {}
        return {
            IDS: json.dumps(list(self.ids)),
            SCORES: base64.b64encode(self.scores.tobytes()).decode(),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], labels: int) -> Neighbours | None:
        """The inverse; None where the model keeps none.

        Args:
            metadata: of the model.
            labels: the length of the label axis ``L``.

        Raises:
            ModelError: the entries do not go together.
        """
        if IDS not in metadata:
            return None
        try:
            ids = [str(each) for each in json.loads(metadata[IDS])]
            content = base64.b64decode(metadata[SCORES], validate=True)
            scores = np.frombuffer(content, np.uint8).reshape(len(ids), labels)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"model.onnx: its {IDS} and {SCORES} do not fit: {error}") from error
        return cls(ids, scores)

    def nearest(self, logits: Floats, count: int) -> list[Neighbour]:
        """The replies that are read most alike, nearest first.

        By the Euclidean distance of the probabilities: on the validation split the three nearest
        have more labels in common with a reply than by that of the logits, where two labels that
        are both surely absent may lie far apart.

        Args:
            logits: raw, ``[L]``.
            count: how many at most; equally near ones come in the order of their rows.
        """
        gaps = self.scores.astype(np.float32) / _CERTAIN - sigmoid(logits)
        distances = np.sqrt(np.square(gaps).sum(axis=1))
        order = np.argsort(distances, kind="stable")[:count]
        return [Neighbour(self.ids[row], round(float(distances[row]), 4)) for row in order]
