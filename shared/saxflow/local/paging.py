"""Pages of a list call, the same for every service.

Source: https://google.aip.dev/158
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from google.api_core import exceptions

T = TypeVar("T")
_LARGEST_PAGE = 1000
_TOKEN = re.compile(r"[0-9]{1,18}")


def page(items: Sequence[T], page_size: int, page_token: str) -> tuple[list[T], str]:
    """Return one page and the token of the next, empty after the last.

    Raises:
        InvalidArgument: a token that no page gave, or a negative size.
    """
    if page_size < 0:
        raise exceptions.InvalidArgument(f"page_size is {page_size}; it cannot be negative")
    if page_token and not _TOKEN.fullmatch(page_token):
        raise exceptions.InvalidArgument(f"page_token {page_token[:40]!r} is not one we gave")
    start = int(page_token or "0")
    end = start + min(page_size or _LARGEST_PAGE, _LARGEST_PAGE)
    return list(items[start:end]), str(end) if end < len(items) else ""
