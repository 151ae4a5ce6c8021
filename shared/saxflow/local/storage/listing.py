"""Pages of object names: prefix, delimiter, offsets, tokens.

Source: cloud.google.com/storage/docs/json_api/v1/objects/list.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.api_core import exceptions

PAGE_LIMIT = 1000


@dataclass(frozen=True)
class Query:
    """What to list; offsets are inclusive at the start and exclusive at the end."""

    prefix: str = ""
    delimiter: str = ""
    start_offset: str = ""
    end_offset: str = ""
    include_trailing_delimiter: bool = False
    page_token: str = ""
    limit: int = PAGE_LIMIT


@dataclass
class Page:
    """Names and common prefixes in order, and the token of the next page, empty at the end."""

    names: list[str] = field(default_factory=list[str])
    prefixes: list[str] = field(default_factory=list[str])
    next_token: str = ""


def page_limit(wanted: int | None, name: str) -> int:
    """Return how many entries a page has at most.

    Args:
        wanted: by the parameter `name`, None when it was not given.

    Raises:
        InvalidArgument: a negative number.
    """
    if wanted is not None and wanted < 0:
        raise exceptions.InvalidArgument(f"{name} is {wanted}; it cannot be negative")
    return PAGE_LIMIT if wanted is None else min(wanted, PAGE_LIMIT)


def page_of(names: Sequence[str], query: Query) -> Page:
    """Return one page of sorted names.

    Raises:
        InvalidArgument: the token is not one of ours.
    """
    page, position = Page(), _start(names, query)
    last = ""
    while position < len(names):
        name = names[position]
        if not name.startswith(query.prefix) or (query.end_offset and name >= query.end_offset):
            break
        if len(page.names) + len(page.prefixes) >= query.limit:
            page.next_token = base64.urlsafe_b64encode(last.encode()).decode()
            break
        common = _common_prefix(name, query)
        if not common:
            page.names.append(name)
            last, position = name, position + 1
            continue
        page.prefixes.append(common)
        if query.include_trailing_delimiter and name == common:
            page.names.append(name)
        last, position = common, _below(names, common)
    return page


def _common_prefix(name: str, query: Query) -> str:
    if not query.delimiter:
        return ""
    cut = name.find(query.delimiter, len(query.prefix))
    return name[: cut + len(query.delimiter)] if cut >= 0 else ""


def _start(names: Sequence[str], query: Query) -> int:
    start = bisect_left(names, max(query.prefix, query.start_offset))
    if not query.page_token:
        return start
    last = _decode(query.page_token)
    folded = _common_prefix(last, query) == last
    return max(start, _below(names, last) if folded else bisect_right(names, last))


def _below(names: Sequence[str], common: str) -> int:
    """Return the position after every name that begins with a prefix."""
    first = bisect_left(names, common)
    return bisect_left(names, True, first, key=lambda name: not name.startswith(common))


def _decode(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise exceptions.InvalidArgument(f"Invalid page token {token!r}") from None
