"""The standard library's pure functions and values, by their dotted names."""

from __future__ import annotations

from saxflow.local.workflows.failures import Value
from saxflow.local.workflows.stdlib import collections, encoding, helpers, policies, texts
from saxflow.local.workflows.stdlib.signature import Function

FUNCTIONS: dict[str, Function] = {
    **helpers.FUNCTIONS,
    **texts.FUNCTIONS,
    **collections.FUNCTIONS,
    **encoding.FUNCTIONS,
    **policies.FUNCTIONS,
}
CONSTANTS: dict[str, Value] = policies.CONSTANTS
