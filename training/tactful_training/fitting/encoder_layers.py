"""Some layers of an encoder: a smaller network that starts from the larger one's weights.

Which layers are kept is a choice (DistilBERT took every other one, Sanh et al. 2019); all encoders
that `transformers` loads are cut alike, for they keep their layers in one list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from tactful_training.errors import EncoderError


def depth(settings: PreTrainedConfig) -> int:
    """How many layers an encoder of these settings has; 0 where they do not say."""
    return int(getattr(settings, "num_hidden_layers", 0) or 0)


def keep_layers(encoder: PreTrainedModel, layers: Sequence[int]) -> None:
    """Cut an encoder down to some of its layers, in their order.

    Args:
        encoder: changed in place, its configuration too.
        layers: which, counted from 0 and ascending.

    Raises:
        EncoderError: it has no such layer, or no list of layers.
    """
    count = depth(encoder.config)
    if missing := [layer for layer in layers if layer >= count]:
        raise EncoderError(
            f"encoder.layers names layer {missing[0]}, but the encoder has {count}, numbered "
            f"from 0 to {count - 1}"
        )
    name = layer_list(encoder)
    whole = encoder.get_submodule(name)
    assert isinstance(whole, nn.ModuleList)
    parent = encoder.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], nn.ModuleList(whole[layer] for layer in layers))
    encoder.config.num_hidden_layers = len(layers)


def layer_list(encoder: PreTrainedModel) -> str:
    """The dotted name of an encoder's list of layers.

    Raises:
        EncoderError: none has as many members as the configuration states layers.
    """
    for name, module in encoder.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth(encoder.config):
            return str(name)
    raise EncoderError(
        f"encoder.layers: a {type(encoder).__name__} does not keep its layers in a list (ALBERT's "
        "share one set of weights, for example), so that some cannot be taken; leave "
        "encoder.layers at null"
    )


def kept_weights(
    weights: Mapping[str, Tensor], prefix: str, layers: Sequence[int]
) -> dict[str, Tensor]:
    """The weights of a whole model, renamed to those of one that was cut down to some layers.

    Args:
        weights: by name.
        prefix: name of the list of layers among them.
        layers: which are kept.
    """
    kept: dict[str, Tensor] = {}
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.(.+)")
    for name, value in weights.items():
        if (found := pattern.fullmatch(name)) is None:
            kept[name] = value
        elif int(found[1]) in layers:
            kept[f"{prefix}.{layers.index(int(found[1]))}.{found[2]}"] = value
    return kept
