"""Weights become whole steps in turn, each making up for the errors of those before (GPTQ).

Rounded to the nearest step, the errors of an output's weights add up as they fall. Here each
input's weights are rounded, and those of the inputs still to come are changed by what keeps the
output nearest to what it was, given how the inputs vary together (Frantar et al. 2023, "GPTQ:
Accurate post-training quantization for generative pre-trained transformers", after Optimal Brain
Surgeon, Hassibi and Stork 1993). Unlike the paper's, a product's inputs are those of the exact
graph, not of one whose earlier layers are rounded already.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Share of the mean variance that is added to each input's, as in the paper: inputs that calibration
# replies hardly move would take any error on otherwise.
_DAMPING = 0.01
_BLOCK = 128  # inputs whose errors are passed on together to those after them


def round_in_turn(
    weights: NDArray[np.floating],
    scale: NDArray[np.floating],
    moments: NDArray[np.float64],
    largest: int,
) -> NDArray[np.int8]:
    """Round the weights of a product.

    Args:
        weights: ``[D, N]``.
        scale: width of a step of each output, ``[N]``.
        moments: how the inputs vary together, ``[D, D]``; their covariance where the mean error is
            taken off anyway. Only relations count.
        largest: greatest absolute step.

    Returns:
        Steps ``[D, N]``; the nearest ones where inputs do not vary together.

    Raises:
        ValueError: a moment is infinite or not a number.
    """
    if not np.isfinite(moments).all():
        raise ValueError("how the inputs of a product vary is not finite")
    left = np.asarray(weights, dtype=np.float64) / scale
    # Inputs that vary most come first: there is most left to make up for their errors.
    order = np.argsort(-np.diag(moments), kind="stable")
    left, moments = left[order], moments[np.ix_(order, order)]
    damping = _DAMPING * np.trace(moments) / len(moments) or 1.0
    inverse = np.linalg.inv(moments + damping * np.eye(len(moments)))
    passed_on = np.linalg.cholesky(inverse).T
    steps = np.empty(left.shape, dtype=np.int8)
    for start in range(0, len(left), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(left)))
        after = slice(block.stop, None)
        errors = np.empty_like(left[block])
        for row, at in enumerate(range(block.start, block.stop)):
            steps[at] = np.rint(left[at]).clip(-largest, largest)
            errors[row] = (left[at] - steps[at]) / passed_on[at, at]
            left[at + 1 : block.stop] -= np.outer(passed_on[at, at + 1 : block.stop], errors[row])
        left[after] -= passed_on[block, after].T @ errors
    unsorted = np.empty_like(steps)
    unsorted[order] = steps
    return unsorted
