"""YAML as configs and data cards use it: strict about repeated keys, relaxed about ``1e-4``."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_FLOAT = "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"


class YamlError(ValueError):
    """Text that is not the YAML we read.

    Attributes:
        line: where, counted from 1 in the text that was given; None where YAML does not say.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        self.line = line
        super().__init__(message)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses repeated keys, which YAML forbids and PyYAML lets the last win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = None if key_node.tag == _MERGE else self.construct_object(key_node, deep=True)
            if key is None or not isinstance(key, Hashable):
                continue
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            # Deep, so that a mapping which contains itself by an alias is refused here.
            return super().construct_object(node, deep=True)
        except (ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
            # PyYAML's own constructors fail so on values like `!!int x` or `!!bool maybe`.
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value!r} cannot be read as {node.tag}", node.start_mark
            ) from error


# YAML 1.1 reads `1e-4` as text and `2024-01-01` as a date; neither is what an author means.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> Any:
    """Read one YAML document.

    Args:
        text: the document; an empty one is None.

    Returns:
        Mappings, lists, text, numbers, booleans and None; never other Python objects.

    Raises:
        YamlError: the text is not YAML, or repeats a key.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(
            error.problem or error.context or "not YAML", mark.line + 1 if mark else None
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"the character U+{error.character:04X} is not allowed", line) from error
    except yaml.YAMLError as error:
        raise YamlError(str(error), None) from error
    except RecursionError as error:
        raise YamlError("it is nested too deeply", None) from error
