"""Pages of a list call, the same for every service.

Source: https://google.aip.dev/158
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from google.api_core import exceptions

T = TypeVar("T")
_LARGEST_PAGE = 1000


def page(items: Sequence[T], page_size: int, page_token: str) -> tuple[list[T], str]:
    """Return one page and the token of the next, empty after the last.

    Raises:
        InvalidArgument: a token that no page gave, or a negative size.
    """
    if page_size < 0 or (page_token and not page_token.isdecimal()):
        raise exceptions.InvalidArgument(f"page_token {page_token!r} is not one we gave")
    start = int(page_token or "0")
    end = start + min(page_size or _LARGEST_PAGE, _LARGEST_PAGE)
    return list(items[start:end]), str(end) if end < len(items) else ""
