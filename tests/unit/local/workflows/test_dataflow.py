from __future__ import annotations

from saxflow.local.workflows.dataflow import analyse, expressions_of, retry_templates
from saxflow.local.workflows.parser import parse_workflow
from saxflow.local.workflows.steps import ReturnStep, Try

SOURCE = """
main:
  params: [args]
  steps:
    - a: {assign: [{x: "${args.n}"}]}
    - b: {return: {"${x}": ["${y}", 1]}}
    - c:
        try: {call: sys.log, args: {data: 1}}
        retry: {predicate: "${retry.always}", max_retries: "${n}"}
"""


def test_reads_and_writes_are_listed_with_their_steps() -> None:
    flow = analyse(parse_workflow(SOURCE).routines["main"])
    assert [(use.name, use.step) for use in flow.writes] == [("args", ""), ("x", "a")]
    assert [(use.name, use.step) for use in flow.reads] == [
        ("args", "a"), ("x", "b"), ("y", "b"), ("retry", "c"), ("n", "c")
    ]  # fmt: skip
    assert [use.name for use in flow.undefined()] == ["y", "retry", "n"]
    assert list(flow.unassigned()) == []
    assert list(flow.unshared()) == []


def test_expressions_and_retry_templates_are_found() -> None:
    steps = parse_workflow(SOURCE).routines["main"].steps.steps
    returned, tried = steps[1].body, steps[2].body
    assert isinstance(returned, ReturnStep)
    assert isinstance(tried, Try)
    assert len(list(expressions_of(returned.value))) == 2
    assert len(retry_templates(tried.retry)) == 2
    assert retry_templates(None) == []
