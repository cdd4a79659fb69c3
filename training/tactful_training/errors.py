"""Errors of the training package; the command line prints them without a traceback."""

from __future__ import annotations

from tactful.errors import TactfulError


class ConfigError(TactfulError):
    """A configuration that is missing, malformed or has an unknown key or a bad value."""


class DataError(TactfulError):
    """A data set, card or row that cannot be used; names file and line."""


class EncoderError(TactfulError):
    """An encoder that cannot be found or whose weights are not the expected ones."""


class ExportError(TactfulError):
    """An ONNX export that failed or does not reproduce the trained model."""

    exit_code = 1


class RunError(TactfulError):
    """A training run that cannot start, continue or finish."""
