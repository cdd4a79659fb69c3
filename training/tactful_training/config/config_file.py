"""The configuration of a training run, read from YAML against a strict schema.

The schema (`tactful_training.config.config_schema`) has no defaults of its own: they are all in
``configs/default.yaml``, commented there. Any other config is a short diff that names its base
(``extends: default.yaml``); dotted overrides (``training.epochs=3``) come last. An unknown key
fails with the nearest allowed one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tactful.strict_json import canonical_json, sha256_hex
from tactful_training.config.config_schema import Config
from tactful_training.config.shipped_files import DEFAULT_CONFIG, find_config
from tactful_training.config.strict_yaml import YamlError, parse_yaml
from tactful_training.errors import ConfigError

Scalar = str | int | float | bool | None


def load_config(name: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a config, what it extends, and overrides on top.

    Args:
        name: a path or a bare name (see `find_config`); None is ``default.yaml``.
        overrides: ``key.path=value``, the value in YAML; a mapping is merged, not replaced.

    Returns:
        The complete, checked configuration.

    Raises:
        ConfigError: a file is missing or malformed, a key is unknown, a value is not allowed.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    path = find_config(DEFAULT_CONFIG if name is None else name)
    layers = [*reversed(_chain(path)), *(_override(text) for text in overrides)]
    for source, layer in layers:
        _check_keys(layer, Config, (), source)
        _merge(merged, layer, (), source, origins)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        lines = [_explain(problem, origins, str(path)) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def flat(config: Config) -> dict[str, Scalar]:
    """Every value of a training by its dotted path, in the order of the schema."""
    return dict(_leaves(training_settings(config), ()))


def digest(config: Config) -> str:
    """Sha256 (hex) that two configs share exactly when they mean the same training."""
    return sha256_hex(canonical_json(training_settings(config)))


def training_settings(config: Config) -> dict[str, Any]:
    """Everything but the section ``sweep``, nested."""
    return config.model_dump(exclude={"sweep"})


def _chain(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The config at ``path``, then what it extends, and so on, each with its file's name."""
    layers: list[tuple[str, dict[str, Any]]] = []
    visited: list[Path] = []
    while True:
        if path.resolve() in visited:
            circle = " → ".join([*(source for source, _ in layers), str(path)])
            raise ConfigError(f"configs extend each other in a circle: {circle}")
        visited.append(path.resolve())
        layer = _read(path)
        layers.append((str(path), layer))
        if "extends" not in layer:
            return layers
        base = layer.pop("extends")
        if not isinstance(base, str) or not base:
            raise ConfigError(
                f"{path}: extends: {_given(base)} given, should be the name of a config file"
            )
        try:
            path = find_config(base, beside=path.parent)
        except ConfigError as error:
            raise ConfigError(f"{path}: extends: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except YamlError as error:
        place = path if error.line is None else f"{path}:{error.line}"
        raise ConfigError(f"{place}: not valid YAML: {error}") from error
    if content is None:
        raise ConfigError(
            f"{path} is empty; a config that changes nothing is 'extends: {DEFAULT_CONFIG}'"
        )
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values, not {_given(content)}")
    return content


def _override(text: str) -> tuple[str, dict[str, Any]]:
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"override {text!r}: write key.path=value, as in training.epochs=3")
    try:
        layer = parse_yaml(value)
    except YamlError as error:
        raise ConfigError(f"override {text!r}: the value is not valid YAML: {error}") from error
    for part in reversed(parts):
        layer = {part: layer}
    return f"override {text!r}", layer


def _check_keys(
    layer: Mapping[Any, Any], section: type[BaseModel], path: tuple[str, ...], source: str
) -> None:
    for key, value in layer.items():
        here = (*path, str(key))
        if key not in section.model_fields:
            raise ConfigError(f"{source}: {_unknown_key(here, section)}")
        kind = section.model_fields[key].annotation
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, BaseModel):
            _check_keys(value, kind, here, source)


def _unknown_key(path: tuple[str, ...], section: type[BaseModel]) -> str:
    *parents, key = path
    # A slip of the pen first; then the right key in the wrong place.
    near = [".".join([*parents, name]) for name in get_close_matches(key, section.model_fields)]
    near += [place for place in _places(Config, ()) if place.split(".")[-1] == key]
    guess = f"; did you mean {near[0]!r}?" if near else "."
    where = f"in {'.'.join(parents)}" if parents else "here"
    return (
        f"unknown key {'.'.join(path)!r}{guess} Allowed {where}: {', '.join(section.model_fields)}"
    )


def _places(section: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield ".".join([*path, name])
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _places(field.annotation, (*path, name))


def _merge(
    base: dict[str, Any],
    layer: Mapping[str, Any],
    path: tuple[str, ...],
    source: str,
    origins: dict[str, str],
) -> None:
    """Lay ``layer`` over ``base`` in place; ``origins`` learns which source set which key."""
    for key, value in layer.items():
        here = (*path, str(key))
        if isinstance(value, Mapping):
            if not isinstance(base.get(key), dict):
                base[key] = {}
            _merge(base[key], value, here, source, origins)
        else:
            base[key] = value
        origins[".".join(here)] = source


def _explain(problem: ErrorDetails, origins: Mapping[str, str], default: str) -> str:
    parts = [str(part) for part in problem["loc"]]
    key = ".".join(parts)
    if problem["type"] == "missing":
        return f"{default}: {key} is missing; does the config say 'extends: {DEFAULT_CONFIG}'?"
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    source = next((origins[prefix] for prefix in prefixes if prefix in origins), default)
    if problem["type"] == "value_error":  # a rule over several keys says all of it itself
        return f"{source}: {key}: {problem['ctx']['error']}"
    rule = problem["msg"].removeprefix("Input ").removeprefix("String ")
    if problem["type"] == "model_type":
        rule = "should be a mapping of keys to values"
    elif problem["type"] == "string_type" and isinstance(problem["input"], int | float):
        rule += " (put it in quotes)"
    return f"{source}: {key}: {_given(problem['input'])} given, {rule}"


def _given(value: object) -> str:
    return "null" if value is None else f"{value!r} ({type(value).__name__})"


def _leaves(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Scalar]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield ".".join([*path, key]), text
