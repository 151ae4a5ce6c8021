"""Turn the bytes of a manifest into plain values that remember where they stand.

YAML is read by its events, not by a constructor: nothing is ever built that the file describes.
Anchors, aliases, tags, merge keys, several documents and deep nesting are refused, duplicate keys
are reported, and plain scalars mean what YAML 1.2 says: `no`, `on`, `1:30`, `0777` and `2024-01-01`
are text. JSON is checked by its own grammar first and then read the same way, for the positions.

Source: YAML 1.2.2 section 10.3 (core schema); RFC 8259.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Never

import yaml

from saxflow.errors import ManifestError, Problem

MAX_BYTES = 64 * 1024
MAX_DEPTH = 12

Path = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_REAL = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})?\.?[0-9]+([eE][-+]?[0-9]{1,3})?")
_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}


@dataclass(frozen=True)
class Mark:
    """A place in the file, both 1-based."""

    line: int
    column: int


@dataclass
class Document:
    """A parsed file.

    Args:
        value: dict, list, str, int, float, bool or None.
        keys: where the key of each path stands (for list items: the item).
        values: where the value of each path starts.
        problems: what is wrong with the file's form; the value holds what could be read.
    """

    value: Any = None
    keys: dict[Path, Mark] = field(default_factory=dict[Path, Mark])
    values: dict[Path, Mark] = field(default_factory=dict[Path, Mark])
    problems: list[Problem] = field(default_factory=list[Problem])


def dotted(path: Path) -> str:
    """Return a path as problems show it: `tpu.zones[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read(data: bytes, *, source_name: str) -> Document:
    """Read the bytes of a manifest.

    Args:
        source_name: file or object name; a name that ends in `.json` is held to JSON's grammar.

    Raises:
        ManifestError: the bytes are too many, no UTF-8, empty, or no single YAML or JSON document.
    """
    text = _decode(data, source_name)
    if source_name.endswith(".json"):
        _check_json(text, source_name)
    reader = _Reader(source_name)
    try:
        reader.read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(mark.line + 1, mark.column + 1) if mark else None
        _refuse(source_name, f"not YAML: {error.problem or error.context}", place)
    except yaml.YAMLError as error:
        _refuse(source_name, f"not YAML: {str(error).splitlines()[0]}")
    return reader.document


def _decode(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        _refuse(name, f"{len(data)} bytes; a manifest has at most {MAX_BYTES}")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        _refuse(name, f"byte {data[error.start]:#04x} is not UTF-8", Mark(line, column))
    if not text.strip():
        _refuse(name, "the file is empty; see docs/manifest.md for the smallest manifest")
    return text


def _check_json(text: str, name: str) -> None:
    def no_constant(constant: str) -> Never:
        _refuse(name, f"not JSON: {constant} is no JSON number")

    try:
        json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        _refuse(name, f"not JSON: {error.msg}", Mark(error.lineno, error.colno))
    except RecursionError:
        _refuse(name, f"nested deeper than {MAX_DEPTH} levels")
    except ValueError as error:
        _refuse(name, f"not JSON: {error}")


def _refuse(name: str, message: str, mark: Mark | None = None) -> Never:
    place = mark or Mark(1, 1)
    raise ManifestError(name, [Problem("", message, place.line, place.column)])


class _Reader:
    """Walks YAML's events once, filling a `Document`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._events: Iterator[yaml.Event] = iter(())
        self.document = Document()

    def read(self, text: str) -> None:
        self._events = self._guarded(text)
        self._next()
        started = self._next()
        if isinstance(started, yaml.StreamEndEvent):
            _refuse(self._name, "the file holds only comments; see docs/manifest.md")
        self.document.value = self._node(self._next(), ())
        self._next()
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            _refuse(self._name, "a second document starts; a manifest is one", _mark(after))

    def _next(self) -> yaml.Event:
        return next(self._events)

    def _guarded(self, text: str) -> Iterator[yaml.Event]:
        depth = 0
        for event in yaml.parse(_without_json_tabs(text), Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                _refuse(self._name, f"alias *{event.anchor}; write the value out", _mark(event))
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                _refuse(self._name, f"anchor &{event.anchor}; write the value out", _mark(event))
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                _refuse(self._name, f"nested deeper than {MAX_DEPTH} levels", _mark(event))
            yield event

    def _node(self, event: yaml.Event, path: Path) -> Any:
        self.document.values[path] = _mark(event)
        self.document.keys.setdefault(path, _mark(event))
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._problem(path, f"tag {tag}; write the value without a tag", _mark(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return _scalar(event)

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._problem(path, "a key that is no text; write a name", _mark(event))
                self._skip(event)
                self._skip(self._next())
                continue
            key, mark = _paired(event.value), _mark(event)
            if key in values:
                first = self.document.keys[*path, key].line
                self._problem((*path, key), f"given twice, first on line {first}", mark)
                self._skip(self._next())
                continue
            self.document.keys[*path, key] = mark
            values[key] = None
            values[key] = self._node(self._next(), (*path, key))
        return values

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _skip(self, event: yaml.Event) -> None:
        depth = 0
        while True:
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth == 0:
                return
            event = self._next()

    def _problem(self, path: Path, message: str, mark: Mark) -> None:
        self.document.problems.append(Problem(dotted(path), message, mark.line, mark.column))


def _mark(event: yaml.Event) -> Mark:
    mark = event.start_mark
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)


def _scalar(event: Any) -> Any:
    """Return what a scalar means; only plain ones can be anything but text."""
    text = _paired(event.value)
    if not event.implicit[0] or event.style is not None:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _REAL.fullmatch(text) and not re.match(r"[-+]?0[0-9]", text):
        return _whole(float(text))
    return text


def _whole(number: float) -> int | float:
    """Return 10.0 as 10: JSON Schema sees no difference either."""
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _paired(text: str) -> str:
    """Join the surrogate pairs that JSON's escapes leave behind; lone ones become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_json_tabs(text: str) -> str:
    """Replace tabs that indent a line of a JSON-like file; YAML forbids them there."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    return re.sub(r"(?m)^[ \t]+", lambda match: " " * len(match[0]), text)
