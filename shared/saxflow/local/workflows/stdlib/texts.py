"""`text.*`.

Regular expressions are RE2's, carried out by Python's engine: what RE2 lacks (look-around, back
references, atomic groups) is refused, and what it spells otherwise (`[[:alpha:]]`, `\\z`) translated.

Source: https://cloud.google.com/workflows/docs/reference/stdlib/text
"""

from __future__ import annotations

import re
from urllib.parse import quote, quote_plus, unquote_to_bytes

from saxflow.local.workflows.failures import Value, index_error, value_error
from saxflow.local.workflows.stdlib.signature import Function, expect, pure
from saxflow.local.workflows.values import checked_text

_ATOM = re.compile(
    r"\\[^1-9ZzN]|\\z|\[(?P<negated>\^?)(?P<inside>\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*)\]", re.DOTALL
)
"""What the search for foreign syntax has to step over: an escape, or a class of characters."""

_NOT_RE2 = re.compile(r"\(\?(?:[=!>(#]|<[=!]|P[=>]|[a-zA-Z-]*[axLu])|\\[1-9ZN]|[*+?}]\+")
_IN_CLASS = re.compile(r"\\.|\[:(\^?)(\w+):\]|[\[&|~]", re.DOTALL)
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_REWRITE = re.compile(r"\\(.?)", re.DOTALL)


def _encode(data: Value, charset: Value = "UTF-8") -> bytes:
    try:
        return expect(data, str, "data").encode(expect(charset, str, "charset"))
    except (LookupError, ValueError) as error:
        raise value_error(f"text.encode: {error}") from None


def _decode(data: Value, charset: Value = "UTF-8") -> str:
    try:
        return checked_text(expect(data, bytes, "data").decode(expect(charset, str, "charset")))
    except (LookupError, ValueError) as error:
        raise value_error(f"text.decode: {error}") from None


def _pattern(text: Value) -> re.Pattern[str]:
    source = expect(text, str, "regexp")
    if _NOT_RE2.search(_ATOM.sub("x", source)):
        raise value_error(f"regular expression {source[:60]!r} uses what RE2 does not have")
    try:
        return re.compile(_ATOM.sub(_translated, source), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise value_error(f"regular expression {source[:60]!r}: {error}") from None


def _translated(atom: re.Match[str]) -> str:
    if atom["inside"] is None:
        return r"\Z" if atom[0] == r"\z" else atom[0]
    return f"[{atom['negated']}{_IN_CLASS.sub(_translated_in_class, atom['inside'])}]"


def _translated_in_class(part: re.Match[str]) -> str:
    if part[2] is None:
        return part[0] if part[0].startswith("\\") else f"\\{part[0]}"
    if part[1] or part[2] not in _POSIX:
        raise value_error(f"regular expression: the class {part[0]} is not supported")
    return _POSIX[part[2]]


def _find_all(source: Value, substr: Value) -> list[Value]:
    wanted = re.compile(re.escape(expect(substr, str, "substr")))
    return _matches(wanted, source)


def _find_all_regex(source: Value, regexp: Value) -> list[Value]:
    return _matches(_pattern(regexp), source)


def _matches(pattern: re.Pattern[str], source: Value) -> list[Value]:
    text = expect(source, str, "source")
    return [{"index": m.start(), "match": m.group()} for m in pattern.finditer(text)]


def _match_regex(source: Value, regexp: Value) -> bool:
    return _pattern(regexp).search(expect(source, str, "source")) is not None


def _replace_all(source: Value, substr: Value, repl: Value) -> str:
    text = expect(source, str, "source")
    return text.replace(expect(substr, str, "substr"), expect(repl, str, "repl"))


def _replace_all_regex(source: Value, regexp: Value, repl: Value) -> str:
    pattern, template = _pattern(regexp), expect(repl, str, "repl")
    for escape in _REWRITE.finditer(template):
        if escape[1] != "\\" and not ("0" <= escape[1] <= "9" and int(escape[1]) <= pattern.groups):
            raise value_error(
                f"replacement {template[:60]!r}: {escape[0]!r} is neither a group nor a backslash"
            )

    def rewrite(match: re.Match[str]) -> str:
        return _REWRITE.sub(
            lambda escape: "\\" if escape[1] == "\\" else match[int(escape[1])] or "", template
        )

    return pattern.sub(rewrite, expect(source, str, "source"))


def _split(source: Value, separator: Value) -> list[Value]:
    text, mark = expect(source, str, "source"), expect(separator, str, "separator")
    return list(text.split(mark)) if mark else list(text)


def _substring(source: Value, start: Value, end: Value) -> str:
    text = expect(source, str, "source")
    first, last = expect(start, int, "start"), expect(end, int, "end")
    if not 0 <= first <= last <= len(text):
        raise index_error(f"text.substring: [{first}, {last}) in a string of {len(text)}")
    return text[first:last]


def _url_decode(source: Value) -> str:
    try:
        return unquote_to_bytes(expect(source, str, "source").replace("+", " ")).decode()
    except UnicodeDecodeError as error:
        raise value_error(f"text.url_decode: {error}") from None


FUNCTIONS: dict[str, Function] = {
    "text.decode": pure("data charset?", _decode),
    "text.encode": pure("data charset?", _encode),
    "text.find_all": pure("source substr", _find_all),
    "text.find_all_regex": pure("source regexp", _find_all_regex),
    "text.match_regex": pure("source regexp", _match_regex),
    "text.replace_all": pure("source substr repl", _replace_all),
    "text.replace_all_regex": pure("source regexp repl", _replace_all_regex),
    "text.split": pure("source separator", _split),
    "text.substring": pure("source start end", _substring),
    "text.to_lower": pure("source", lambda source: expect(source, str, "source").lower()),
    "text.to_upper": pure("source", lambda source: expect(source, str, "source").upper()),
    "text.url_decode": pure("source", _url_decode),
    "text.url_encode": pure("source", lambda source: quote(expect(source, str, "source"), safe="")),
    "text.url_encode_plus": pure(
        "source", lambda source: quote_plus(expect(source, str, "source"))
    ),
}
