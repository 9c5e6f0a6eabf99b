"""YAML with bounds: of size, of depth, and of what aliases expand to."""

import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_FILE_BYTES = 2 * 1024 * 1024
MAX_NODES = 50_000
"""With aliases expanded."""
MAX_DEPTH = 50
MAX_LINE_CHARS = 120
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
"""Databases refuse them."""
_MERGE = "tag:yaml.org,2002:merge"


class YamlError(ValueError):
    """A text that cannot be read. The message names the line."""


def load(data: bytes) -> Any:
    """Read one document of plain values. Raises YamlError."""
    if len(data) > MAX_FILE_BYTES:
        raise YamlError(f"The file has more than {MAX_FILE_BYTES // 1024:,} KB.")
    try:
        loader = yaml.SafeLoader(data.decode("utf-8-sig"))
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    except UnicodeDecodeError:
        raise YamlError("The file is not UTF-8.") from None
    except RecursionError:
        raise YamlError(f"The file has more than {MAX_DEPTH} levels.") from None
    except yaml.MarkedYAMLError as error:
        # Not its text: that quotes the line, which may hold a secret.
        raise YamlError(f"{_line(error.problem_mark)}{error.problem}.") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError("The file is not valid YAML.") from None


def dump(value: Any) -> str:
    """Write plain values: texts of several lines as blocks, fields in the given order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=MAX_LINE_CHARS)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _check(root: Node) -> None:
    """Bound the nodes before anything is built from them; an alias is the same node again."""
    level, count = [root], 1
    for _ in range(MAX_DEPTH):
        inner: list[Node] = []
        for node in level:
            children = _children(node)
            count += len(children)
            if count > MAX_NODES:
                raise YamlError(f"{_line(node.start_mark)}more than {MAX_NODES:,} values, with aliases expanded.")
            inner.extend(children)
        if not inner:
            return
        level = inner
    raise YamlError(f"{_line(level[0].start_mark)}more than {MAX_DEPTH} levels.")


def _children(node: Node) -> list[Node]:
    if isinstance(node, SequenceNode):
        return list(node.value)
    if isinstance(node, ScalarNode) and _NOT_TEXT.search(node.value):
        raise YamlError(f"{_line(node.start_mark)}a text must not contain a null character or an unpaired surrogate.")
    if not isinstance(node, MappingNode):
        return []
    names = set[str]()
    for key, _ in node.value:
        if not isinstance(key, ScalarNode) or key.tag == _MERGE:
            raise YamlError(f"{_line(key.start_mark)}names must be plain strings, and `<<` is not supported.")
        if key.value in names:
            raise YamlError(f"{_line(key.start_mark)}{key.value[:64]!r} is given twice.")
        names.add(key.value)
    return [value for _, value in node.value]


def _line(mark: Any) -> str:
    return "" if mark is None else f"Line {mark.line + 1}: "
