"""Whatever a source says, what comes of it is a value, a `WorkflowFailure` or a list of problems."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saxflow.local.clock import VirtualClock
from saxflow.local.workflows import Run, Runtime, WorkflowFailure, parse_workflow
from saxflow.local.workflows.calls import WORLD
from saxflow.local.workflows.expressions import EXPRESSION_LIMIT
from saxflow.local.workflows.http import HttpClient
from saxflow.local.workflows.lint import check
from saxflow.local.workflows.stdlib import FUNCTIONS

LEAVES = [
    "0", "1", "-1", "2.5", "1e999", "9223372036854775807", "true", "null", '""', '"a"', '"ü/ b"',
    '"\\\\"', "[]", "{}", '[1, "a"]', '{"a": {"b": 1}}', "x", "missing", "http.default_retry",
    'text.encode("a")', "retry.always",
]  # fmt: skip
OPERATORS = ["+", "-", "*", "/", "//", "%", "==", "!=", "<", ">=", "in", "not in", "and", "or"]
HARMLESS = [*FUNCTIONS, *(name for name, known in WORLD.items() if not known.blocking)]


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds(
            "{}({})".format, st.sampled_from(HARMLESS), st.lists(inner, max_size=3).map(", ".join)
        ),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("({}).a".format, inner),
        st.builds("not({})".format, inner),
        st.builds("-({})".format, inner),
    )


EXPRESSIONS = st.recursive(st.sampled_from(LEAVES), compound, max_leaves=8)
HTTP = HttpClient()


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(EXPRESSIONS)
def test_expressions_end_in_a_value_or_an_error_of_the_language(expression: str) -> None:
    if len(expression) > EXPRESSION_LIMIT:
        return
    quoted = expression.replace("'", "''")
    source = f"main: {{params: [x], steps: [{{a: {{assign: [{{y: '${{{quoted}}}'}}]}}}}]}}"
    try:
        Run(parse_workflow(source), Runtime(VirtualClock(), HTTP)).execute({"a": [1]})
    except WorkflowFailure as error:
        caught = error
    else:
        return
    assert caught.payload["tags"]


WORDS = st.sampled_from(
    ["assign", "call", "switch", "for", "parallel", "try", "retry", "except", "raise", "return",
     "next", "steps", "condition", "value", "in", "range", "index", "shared", "branches", "as",
     "args", "result", "params", "main", "sub", "end", "http.get", "${x}", "${1 +}", "no", ""]
)  # fmt: skip
TREES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(-3, 3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=15,
)


@settings(max_examples=100, deadline=None)
@given(TREES)
def test_any_tree_is_checked_without_a_crash(tree: Any) -> None:
    source = yaml.safe_dump({"main": {"steps": [{"a": tree}, {"b": {"for": tree}}]}, "s": tree})
    assert all(problem.message for problem in check(source))
