"""Bytes to a `Manifest`, or to all that is wrong with them at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from saxflow.errors import ManifestError, Problem
from saxflow.manifest import document, rules
from saxflow.manifest.document import Document, Mark, Path, dotted
from saxflow.manifest.fields import Grammar
from saxflow.manifest.model import Manifest

MAX_PROBLEMS = 100
"""Told at once; they travel in an event."""


def parse(data: bytes, *, source_name: str, allow_file_sources: bool = False) -> Manifest:
    """Read a manifest.

    Args:
        data: YAML or JSON, at most 64 KiB.
        source_name: file or object name; its stem must equal `name`.
        allow_file_sources: file:// weights are legal, as with the local cloud.

    Raises:
        ManifestError: with every problem, each with line and column.
    """
    read = document.read(data, source_name=source_name)
    problems = [*read.problems, *_empty_values(read)]
    if not isinstance(read.value, dict):
        kind = _kind(read.value)
        raise ManifestError(
            source_name,
            [Problem("", f"{kind} where a mapping with apiVersion, name ... belongs", 1, 1)],
        )
    manifest, found = _validate(read)
    problems += found
    wrong = {problem.path for problem in problems}
    view = rules.View(
        {path: value for path, value in _leaves(read.value) if path not in wrong},
        source_name,
        allow_file_sources,
    )
    problems += [_placed(read, path, message) for path, message in rules.findings(view)]
    if problems or manifest is None:
        raise ManifestError(source_name, _in_order(problems))
    return manifest.located(source_name, {dotted(p): mark for p, mark in read.values.items()})


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Return the problems as they stand in the file; a flood of them is cut and counted."""
    told = sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))
    if len(told) <= MAX_PROBLEMS:
        return told
    last = told[MAX_PROBLEMS]
    rest = f"{len(told) - MAX_PROBLEMS} more problems from here on; is this a manifest?"
    return [*told[:MAX_PROBLEMS], Problem("", rest, last.line, last.column)]


def _validate(read: Document) -> tuple[Manifest | None, list[Problem]]:
    try:
        return Manifest.model_validate(_without_nulls(read.value)), []
    except ValidationError as error:
        nulls = {problem.path for problem in _empty_values(read)}
        found = [_problem(read, item) for item in error.errors(include_url=False)]
        return None, [problem for problem in found if problem.path not in nulls]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _empty_values(read: Document) -> list[Problem]:
    return [
        _at(read.keys[path], dotted(path), "no value; write one, or leave the key out")
        for path in read.values
        if path and not isinstance(path[-1], int) and _look_up(read.value, path) is None
    ]


def _look_up(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield dotted(path), value


def _at(mark: Mark, path: str, message: str) -> Problem:
    return Problem(path, message, mark.line, mark.column)


def _placed(read: Document, path: str, message: str) -> Problem:
    """Return a problem at its field, or at the nearest section that is there."""
    marks = {dotted(key): mark for key, mark in read.values.items()}
    keys = {dotted(key): mark for key, mark in read.keys.items()}
    if path in marks:
        return _at(marks[path], path, message)
    while path_up := path.rpartition(".")[0] if "." in path else "":
        if path_up in keys:
            return _at(keys[path_up], path, message)
        path = path_up
    return _at(Mark(1, 1), path, message)


def _problem(read: Document, error: Mapping[str, Any]) -> Problem:
    path: Path = tuple(part for part in error["loc"] if part != "[key]")
    kind = error["type"]
    if kind == "missing":
        return _missing(read, path)
    message = _MESSAGES.get(kind, _as_pydantic)(error)
    if kind == "extra_forbidden":
        return _at(read.keys[path], dotted(path), message)
    places = read.keys if "[key]" in error["loc"] else read.values
    return _at(places.get(path, Mark(1, 1)), dotted(path), message)


def _missing(read: Document, path: Path) -> Problem:
    parent = path[:-1]
    mark = read.keys[parent] if parent else Mark(1, 1)
    return _at(mark, dotted(path), "required, but missing")


def _unknown(error: Mapping[str, Any]) -> str:
    path: Path = error["loc"]
    known = _known_keys()
    here = dotted(path[:-1])
    siblings = known.get(here, ())
    close = difflib.get_close_matches(str(path[-1]), siblings, n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {close[0]}?"
    elsewhere = [
        f"{section}.{key}" if section else key
        for section, keys in known.items()
        for key in keys
        if key.lower() == str(path[-1]).lower()
    ]
    if elsewhere:
        return f"unknown key here; did you mean {elsewhere[0]}?"
    return f"unknown key; known here: {', '.join(siblings)}"


def _sections(
    section: type[BaseModel] = Manifest, path: str = ""
) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every section with its dotted path, '' for the manifest itself."""
    yield path, section
    for name, field in section.model_fields.items():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _sections(inner, _joined(path, field.alias or name))


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _known_keys() -> dict[str, tuple[str, ...]]:
    """Return the keys of every section by its dotted path."""
    return {
        path: tuple(field.alias or name for name, field in section.model_fields.items())
        for path, section in _sections()
    }


def _grammar_rules() -> dict[str, str]:
    """Return the rule of each field that has a grammar, by dotted path."""
    return {
        _joined(path, field.alias or name): mark.rule
        for path, section in _sections()
        for name, field in section.model_fields.items()
        for mark in (*field.metadata, *_metadata_of_options(field.annotation))
        if isinstance(mark, Grammar)
    }


def _metadata_of_options(annotation: Any) -> Iterator[Any]:
    for option in get_args(annotation):
        yield from getattr(option, "__metadata__", ())


def _kind(value: Any) -> str:
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        dict: "a mapping",
    }
    return kinds.get(type(value), "a list" if isinstance(value, list) else "nothing")


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _text_wanted(error: Mapping[str, Any]) -> str:
    value = error["input"]
    if isinstance(value, (dict, list)):
        return f"{_kind(value)} where text belongs"
    rule = _grammar_rules().get(dotted(error["loc"]))
    wanted = f"write {rule}" if rule else "text belongs here, put it in quotes"
    return f"{_quoted(value)} is {_kind(value)}; {wanted}"


def _wanted(what: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda error: (
        f"{_quoted(error['input'])} is {_kind(error['input'])}; {what} belongs here"
    )


def _choice(error: Mapping[str, Any]) -> str:
    expected = str(error["ctx"]["expected"])
    options = [option.strip("'") for option in expected.replace(" or ", ", ").split(", ")]
    close = difflib.get_close_matches(str(error["input"]), options, n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{_quoted(error['input'])} is none of {', '.join(options)}{hint}"


def _bound(sign: str, key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda error: (
        f"{_quoted(error['input'])} is out of range; it must be {sign} {error['ctx'][key]}"
    )


def _as_pydantic(error: Mapping[str, Any]) -> str:
    message = str(error["msg"])
    return message[:1].lower() + message[1:]


_MESSAGES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "extra_forbidden": _unknown,
    "grammar": lambda error: f"{_quoted(error['input'])} is not {error['ctx']['rule']}",
    "string_type": _text_wanted,
    "int_type": _wanted("a whole number"),
    "int_from_float": _wanted("a whole number"),
    "float_type": _wanted("a number"),
    "bool_type": _wanted("true or false"),
    "list_type": _wanted("a list"),
    "dict_type": _wanted("a mapping"),
    "model_type": _wanted("a mapping"),
    "literal_error": _choice,
    "greater_than": _bound("greater than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than_equal": _bound("at most", "le"),
    "finite_number": _wanted("a finite number"),
    "too_short": lambda _: "an empty list; name at least one, or leave the key out",
    "too_long": lambda error: f"too many; at most {error['ctx']['max_length']}",
    "string_too_short": lambda _: "empty text; write something, or leave the key out",
    "string_too_long": lambda error: f"too long; at most {error['ctx']['max_length']} characters",
}
"""Pydantic's error types and how we say them."""
