"""Read a workflow's source, YAML or JSON, into a tree that knows line and column of every part.

Only `true` and `false` are booleans here and every map key is text, so a step called `on` or `no`
keeps its name; readers of YAML 1.1 see booleans there, which lint reports.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import yaml

from saxflow.errors import InputError, Problem
from saxflow.local.workflows.failures import Value
from saxflow.local.workflows.values import fitting

SOURCE_LIMIT_BYTES = 128 * 1024
_DEPTH_LIMIT = 100
_NODE_LIMIT = 70_000


class SourceError(InputError):
    """A workflow source that cannot be used, with every problem found."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in the source, counted from 1; unknown (None) in JSON that YAML cannot read."""

    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the source.

    Args:
        value: a scalar, a list of nodes, or a dict of nodes.
        mark: where it starts.
        keys: of a map, where each key stands.
        plain: a scalar written without quotes.
    """

    value: Value
    mark: Mark = field(default_factory=Mark)
    keys: dict[str, Mark] = field(default_factory=dict[str, Mark])
    plain: bool = False

    def problem(self, path: str, message: str) -> Problem:
        """Return a problem at this place."""
        return Problem(path, message, self.mark.line, self.mark.column)


def read_source(source: str) -> Node:
    """Return the root of a source.

    Raises:
        SourceError: not YAML or JSON, longer than 128 KB, or with a key twice in one map.
    """
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > SOURCE_LIMIT_BYTES:
        raise SourceError([Problem("", f"source of {size} bytes; at most {SOURCE_LIMIT_BYTES}")])
    try:
        return _read_json(source) if _needs_json(source) else _read_yaml(source)
    except RecursionError:
        raise SourceError([Problem("", "source is nested too deeply")]) from None


def _needs_json(source: str) -> bool:
    return source.lstrip()[:1] in ("{", "[") and ("\t" in source or "\\u" in source)


def _read_json(source: str) -> Node:
    try:
        value = json.loads(source, object_pairs_hook=_unique)
        json.dumps(value, ensure_ascii=False).encode()
        return _plain_node(value)
    except ValueError as error:
        raise SourceError([Problem("", f"not JSON: {error}")]) from None


def _unique(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError([Problem(twice, "the key occurs twice in one map")])
    return result


def _plain_node(value: Value) -> Node:
    if isinstance(value, dict):
        nodes = {name: _plain_node(item) for name, item in value.items()}
        return Node(nodes, keys=dict.fromkeys(nodes, Mark()))
    if isinstance(value, list):
        return Node([_plain_node(item) for item in value])
    return Node(value)


def _read_yaml(source: str) -> Node:
    try:
        root = yaml.compose(source, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        raise SourceError([Problem("", f"not YAML: {error.problem}", *place)]) from None
    except yaml.YAMLError as error:
        raise SourceError([Problem("", f"not YAML: {error}")]) from None
    if root is None:
        raise SourceError([Problem("", "the source is empty; at least one step is needed")])
    return _Converter().convert(root)


class _Converter:
    """Turns YAML's nodes into ours; aliases are followed, but not into the boundless."""

    def __init__(self) -> None:
        self._left = _NODE_LIMIT

    def convert(self, node: yaml.Node, depth: int = 0) -> Node:
        mark = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
        self._left -= 1
        if depth > _DEPTH_LIMIT or self._left < 0:
            raise _refused(mark, "source is nested too deeply, or aliases make it too large")
        if isinstance(node, yaml.SequenceNode):
            return Node([self.convert(item, depth + 1) for item in node.value], mark)
        if isinstance(node, yaml.MappingNode):
            return self._map(node, mark, depth)
        assert isinstance(node, yaml.ScalarNode)
        plain = not node.style
        return Node(resolve_scalar(node.value) if plain else node.value, mark, plain=plain)

    def _map(self, node: yaml.MappingNode, mark: Mark, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        for key, value in node.value:
            place = Mark(key.start_mark.line + 1, key.start_mark.column + 1)
            if not isinstance(key, yaml.ScalarNode):
                raise _refused(place, "map keys must be plain text")
            if key.value in values:
                raise _refused(place, "the key occurs twice in one map", key.value)
            values[key.value] = self.convert(value, depth + 1)
            keys[key.value] = place
        return Node(values, mark, keys)


def _refused(mark: Mark, message: str, path: str = "") -> SourceError:
    return SourceError([Problem(path, message, mark.line, mark.column)])


_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Value]], ...] = (
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"[-+]?[0-9]{1,30}"), lambda text: fitting(int(text))),
    (re.compile(r"0x[0-9a-fA-F]{1,16}"), lambda text: fitting(int(text, 16))),
    (re.compile(r"0o[0-7]{1,22}"), lambda text: fitting(int(text, 8))),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)


def resolve_scalar(text: str) -> Value:
    """Return what a scalar without quotes stands for, by the core schema of YAML 1.2."""
    for pattern, convert in _SCALARS:
        if pattern.fullmatch(text):
            return convert(text)
    return text
