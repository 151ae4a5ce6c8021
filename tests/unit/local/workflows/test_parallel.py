from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.clock import VirtualClock
from saxflow.local.workflows import Cancellation, Cancelled, WorkflowFailure, run_workflow

RunIt = Callable[..., Any]


def test_branches_write_only_what_is_shared(run: RunIt) -> None:
    source = """
    - init: {assign: [{a: 0}, {b: 0}, {own: outside}]}
    - p:
        parallel:
          shared: [a, b]
          branches:
            - one: {steps: [{set: {assign: [{own: inside}, {a: "${own}"}]}}]}
            - two: {steps: [{set: {assign: [{b: "${own}"}]}}]}
    - out: {return: ["${a}", "${b}", "${own}"]}
    """
    assert run(source) == ["inside", "outside", "outside"]


def test_iterations_write_into_a_shared_list_and_map(run: RunIt) -> None:
    source = """
    - init: {assign: [{l: [0, 0, 0, 0, 0, 0, 0, 0]}, {m: {}}]}
    - p:
        parallel:
          shared: [l, m]
          concurrency_limit: 4
          for:
            value: v
            range: [0, 7]
            steps:
              - set: {assign: [{"l[v]": "${v * v}"}, {"m[string(v)]": "${v}"}]}
    - out: {return: {l: "${l}", m: "${m}"}}
    """
    assert run(source) == {
        "l": [n * n for n in range(8)],
        "m": {str(n): n for n in range(8)},
    }


def test_branches_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=60)

    class Meeting(VirtualClock):
        def sleep(self, seconds: float, cancel: threading.Event | None = None) -> bool:
            together.wait()
            return super().sleep(seconds, cancel)

    source = """
    - p:
        parallel:
          for: {value: v, in: [1, 2, 3], steps: [{s: {call: sys.sleep, args: {seconds: 1}}}]}
    """
    assert run_workflow(source, clock=Meeting(auto=True)) is None


def test_every_branch_runs_and_all_errors_are_told(run: RunIt) -> None:
    source = """
    - init: {assign: [{done: {}}]}
    - t:
        try:
          steps:
            - p:
                parallel:
                  shared: [done]
                  for:
                    value: v
                    range: [0, 3]
                    steps:
                      - odd: {switch: [{condition: "${v % 2 != 0}", raise: how odd}]}
                      - mark: {assign: [{"done[string(v)]": true}]}
        except: {as: e, steps: [{out: {return: {e: "${e}", done: "${done}"}}}]}
    """
    result = run(source)
    assert result["done"] == {"0": True, "2": True}
    assert result["e"]["tags"] == ["UnhandledBranchError", "RuntimeError"]
    assert [branch["id"] for branch in result["e"]["branches"]] == ["1", "3"]
    assert result["e"]["branches"][0]["error"]["payload"] == '"how odd"'
    assert 'in step "odd", routine "main"' in result["e"]["branches"][0]["error"]["context"]


def error_of(run: RunIt, loop: str) -> Any:
    """Return what a parallel loop whose iterations fail raises."""
    return run(f"""
    - t:
        try:
          steps:
            - p:
                parallel:
                  for: {loop}
        except: {{as: e, steps: [{{out: {{return: "${{e}}"}}}}]}}
    """)


def test_errors_are_told_in_the_order_of_the_iterations(run: RunIt) -> None:
    error = error_of(run, "{value: v, range: [0, 104], steps: [{bad: {raise: no}}]}")
    assert [branch["id"] for branch in error["branches"]] == [str(n) for n in range(100)]
    assert error["truncated"] is True


def test_an_error_that_holds_bytes_is_told_too(run: RunIt) -> None:
    body = """'${text.encode("x")}'"""
    bad = f"{{bad: {{raise: {{message: binary, code: 500, body: {body}}}}}}}"
    error = error_of(run, f"{{value: v, in: [1], steps: [{bad}]}}")
    assert error["tags"] == ["UnhandledBranchError", "RuntimeError"]
    assert error["branches"][0]["error"]["payload"] == '"binary"'


def test_the_context_of_a_branchs_error_is_where_it_arose(run: RunIt) -> None:
    source = """
    main:
      steps:
        - p:
            parallel:
              for: {value: v, in: [1], steps: [{outer: {call: sub}}]}
    sub:
      steps: [{inner: {raise: no}}]
    """
    with pytest.raises(WorkflowFailure) as caught:
        run(source)
    (branch,) = caught.value.payload["branches"]
    assert 'in step "inner", routine "sub"' in branch["error"]["context"]


def test_loops_in_branches_break_and_continue_on_their_own(run: RunIt) -> None:
    source = """
    - init: {assign: [{n: 0}]}
    - p:
        parallel:
          shared: [n]
          concurrency_limit: 1
          for:
            value: v
            in: [1, 2, 3]
            steps:
              - skip: {switch: [{condition: "${v == 2}", next: continue}]}
              - add: {assign: [{n: "${n + v}"}]}
    - out: {return: "${n}"}
    """
    assert run(source) == 4


NESTED = """
- init: {assign: [{n: 0}]}
- a:
    parallel:
      shared: [n]
      for:
        value: i
        in: [1]
        steps:
          - b:
              parallel:
                shared: [n]
                for:
                  value: j
                  in: [1]
                  steps:
                    - c: STEP
- out: {return: "${n}"}
"""


def test_parallel_steps_nest_twice_and_no_deeper(run: RunIt) -> None:
    assert run(NESTED.replace("STEP", '{assign: [{n: "${n + 1}"}]}')) == 1
    third = "{parallel: {for: {value: k, in: [1], steps: [{d: {assign: [{x: 1}]}}]}}}"
    with pytest.raises(WorkflowFailure) as caught:
        run(NESTED.replace("STEP", third))
    assert "ParallelNestingError" in caught.value.payload["branches"][0]["error"]["payload"]


@pytest.mark.parametrize(("limit", "tag"), [("0", "ValueError"), ('"${1.5}"', "TypeError")])
def test_the_limit_is_a_positive_integer(run: RunIt, limit: str, tag: str) -> None:
    source = f"""
    - p:
        parallel:
          concurrency_limit: {limit}
          for: {{value: v, in: [1], steps: [{{s: {{assign: [{{x: 1}}]}}}}]}}
    """
    with pytest.raises(WorkflowFailure) as caught:
        run(source)
    assert caught.value.payload["tags"] == [tag]


def test_cancellation_ends_all_branches() -> None:
    cancellation = Cancellation()
    source = """
    - p:
        parallel:
          for: {value: v, in: [1, 2], steps: [{s: {call: sys.sleep, args: {seconds: 3600}}}]}
    """
    timer = threading.Timer(0.05, cancellation.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        run_workflow(source, cancellation=cancellation)
    timer.join()
