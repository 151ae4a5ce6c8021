from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.clock import VirtualClock
from saxflow.local.workflows import (
    Cancellation,
    Cancelled,
    HttpClient,
    Run,
    Runtime,
    WorkflowFailure,
    parse_workflow,
    run_workflow,
)

RunIt = Callable[..., Any]


def test_steps_run_in_order_and_end_without_a_value(run: RunIt) -> None:
    assert run("- a:\n    assign: [{x: 1}]\n") is None


def test_assignments_see_each_other(run: RunIt) -> None:
    source = """
    - a:
        assign:
          - x: 1
          - y: ${x + 1}
          - x: ${x + y}
    - out:
        return: [ "${x}", "${y}" ]
    """
    assert run(source) == [3, 2]


def test_assignment_into_lists_and_maps_makes_maps_on_the_way(run: RunIt) -> None:
    source = """
    - a:
        assign:
          - m: {}
          - m.a.b: 1
          - m["c d"]: [1, 2]
          - i: 0
          - m["c d"][i + 1]: two
          - copy: ${m}
          - m.a.b: changed
    - out:
        return: {m: "${m}", copy: "${copy}"}
    """
    assert run(source) == {
        "m": {"a": {"b": "changed"}, "c d": [1, "two"]},
        "copy": {"a": {"b": 1}, "c d": [1, "two"]},
    }


@pytest.mark.parametrize(
    ("target", "tag"),
    [("nowhere.a", "KeyError"), ("l[5]", "IndexError"), ("l.a", "TypeError"), ("n.a", "TypeError")],
)
def test_assignment_into_what_is_not_there(run: RunIt, target: str, tag: str) -> None:
    source = f"- a:\n    assign:\n      - l: [1]\n      - n: 5\n      - {target}: 1\n"
    with pytest.raises(WorkflowFailure) as caught:
        run(source)
    assert caught.value.payload["tags"] == [tag]


def test_map_keys_may_be_expressions(run: RunIt) -> None:
    source = """
    - a:
        assign: [{k: name}]
    - out:
        return: {"${k + \\"d\\"}": 1, plain: 2}
    """
    assert run(source) == {"named": 1, "plain": 2}


def test_switch_takes_the_first_match_only(run: RunIt) -> None:
    source = """
    main:
      params: [x]
      steps:
        - s:
            switch:
              - condition: ${x < 10}
                assign: [{size: small}]
              - condition: ${x < 100}
                steps:
                  - set: {assign: [{size: medium}]}
              - condition: true
                return: large
        - out:
            return: ${size}
    """
    assert [run(source, x) for x in (1, 50, 500)] == ["small", "medium", "large"]


def test_switch_without_a_match_follows_its_own_next(run: RunIt) -> None:
    source = """
    - s:
        switch:
          - condition: ${1 > 2}
            next: wrong
        next: right
    - wrong: {return: wrong}
    - right: {return: right}
    """
    assert run(source) == "right"


def test_switch_conditions_are_booleans(run: RunIt) -> None:
    with pytest.raises(WorkflowFailure, match="must be a boolean"):
        run('- s:\n    switch:\n      - condition: ${"yes"}\n        return: 1\n')


def test_jumps_backward_forward_and_out_of_nested_steps(run: RunIt) -> None:
    source = """
    - init: {assign: [{i: 0}]}
    - count:
        steps:
          - add: {assign: [{i: "${i + 1}"}]}
          - again:
              switch:
                - condition: ${i < 5}
                  next: count
          - leave: {next: out}
    - skipped: {assign: [{i: -1}]}
    - out: {return: "${i}"}
    """
    assert run(source) == 5


def test_next_end_ends_only_the_routine(run: RunIt) -> None:
    source = """
    main:
      steps:
        - a: {call: sub, result: r}
        - out: {return: ["${r}", done]}
    sub:
      steps:
        - stop: {next: end}
        - never: {return: 1}
    """
    assert run(source) == [None, "done"]


def test_subworkflows_take_defaults_names_and_positions(run: RunIt) -> None:
    source = """
    main:
      steps:
        - named: {call: join, args: {b: "B", a: "A"}, result: one}
        - out: {return: ["${one}", "${join(1, 2)}", "${join(1, 2, 3)}"]}
    join:
      params: [a, b, c: "C"]
      steps:
        - out: {return: ["${a}", "${b}", "${c}"]}
    """
    assert run(source) == [["A", "B", "C"], [1, 2, "C"], [1, 2, 3]]


@pytest.mark.parametrize("args", ["{a: 1}", "{a: 1, b: 2, z: 3}"])
def test_arguments_that_do_not_fit_are_type_errors(run: RunIt, args: str) -> None:
    source = f"""
    main:
      steps:
        - c: {{call: sub, args: {args}}}
    sub:
      params: [a, b]
      steps: [{{out: {{return: 1}}}}]
    """
    with pytest.raises(WorkflowFailure, match="TypeError"):
        run(source)


def test_a_subworkflow_does_not_see_its_callers_variables(run: RunIt) -> None:
    source = """
    main:
      steps:
        - a: {assign: [{x: 1}]}
        - c: {call: sub}
    sub:
      steps: [{out: {return: "${x}"}}]
    """
    with pytest.raises(WorkflowFailure, match="variable not found: x"):
        run(source)


def test_call_depth_is_limited(run: RunIt) -> None:
    source = """
    main:
      params: [n]
      steps: [{out: {return: "${down(n)}"}}]
    down:
      params: [n]
      steps:
        - stop: {switch: [{condition: "${n == 0}", return: bottom}]}
        - go: {call: down, args: {n: "${n - 1}"}, result: r}
        - out: {return: "${r}"}
    """
    assert run(source, 18) == "bottom"
    with pytest.raises(WorkflowFailure) as caught:
        run(source, 19)
    assert caught.value.payload["tags"] == ["RecursionError"]


def test_steps_are_limited() -> None:
    source = "- a: {assign: [{x: 1}], next: a}\n"
    with HttpClientOf() as runtime, pytest.raises(WorkflowFailure, match="more than 500 steps"):
        Run(parse_workflow(source), runtime, step_limit=500).execute(None)


class HttpClientOf:
    def __enter__(self) -> Runtime:
        self._http = HttpClient()
        return Runtime(clock=VirtualClock(auto=True), http=self._http)

    def __exit__(self, *_: object) -> None:
        self._http.close()


def test_memory_is_limited_and_given_back(run: RunIt) -> None:
    source = """
    main:
      params: [rounds]
      steps:
        - init: {assign: [{text: "xxxxxxxxxxxxxxxx"}, {kept: []}]}
        - grow:
            for: {value: i, range: [1, 12], steps: [{twice: {assign: [{text: "${text + text}"}]}}]}
        - fill:
            for:
              value: i
              range: "${[1, rounds]}"
              steps: [{add: {assign: [{part: "${text + text}"}, {kept: "${list.concat(kept, 1)}"}]}}]
        - out: {return: "${len(text)}"}
    """
    assert run(source, 50) == 65536
    greedy = source.replace("list.concat(kept, 1)", "list.concat(kept, part)")
    with pytest.raises(WorkflowFailure) as caught:
        run(greedy, 50)
    assert caught.value.payload["tags"] == ["ResourceLimitError"]


def test_arguments_that_do_not_fit_into_memory_are_given_back(run: RunIt) -> None:
    source = """
    main:
      params: [text]
      steps:
        - again:
            for:
              value: i
              range: [1, 5]
              steps:
                - t:
                    try: {call: sub, args: {a: "${text}", b: "${text}", c: "${text}"}}
                    except: {as: e, steps: [{keep: {assign: [{tags: "${e.tags}"}]}}]}
        - fits: {call: sub, args: {a: "${text}", b: "", c: ""}, result: r}
        - out: {return: "${r}"}
    sub:
      params: [a, b, c]
      steps: [{out: {return: "${len(a)}"}}]
    """
    assert run(source, "x" * 150_000) == 150_000


def test_strings_are_limited(run: RunIt) -> None:
    source = """
    - init: {assign: [{t: "0123456789abcdef"}]}
    - grow: {assign: [{t: "${t + t}"}], next: grow}
    """
    with pytest.raises(WorkflowFailure, match="at most 262144 allowed"):
        run(source)


def test_the_trace_names_routine_step_and_line(run: RunIt) -> None:
    source = """main:
  steps:
    - outer:
        call: sub
sub:
  steps:
    - fine: {assign: [{x: 1}]}
    - inner:
        assign: [{y: "${1 / 0}"}]
"""
    with pytest.raises(WorkflowFailure) as caught:
        run(source)
    places = [(place.routine, place.step, place.line) for place in caught.value.trace]
    assert places == [("sub", "inner", 8), ("main", "outer", 3)]


def test_cancellation_stops_before_the_next_step_and_is_not_caught() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    source = """
    - t:
        try: {call: sys.sleep, args: {seconds: 5}}
        except: {as: e, steps: [{out: {return: caught}}]}
    """
    with pytest.raises(Cancelled):
        run_workflow(source, cancellation=cancellation, clock=VirtualClock(auto=True))


def test_current_steps_name_the_waiting_routines() -> None:
    source = """
    main:
      steps: [{outer: {call: sub}}]
    sub:
      steps: [{look: {call: sys.log, args: {data: x}}}]
    """
    seen: list[list[tuple[str, str]]] = []
    http = HttpClient()
    runtime = Runtime(
        clock=VirtualClock(auto=True), http=http, log=lambda *_: seen.append(run.current_steps())
    )
    run = Run(parse_workflow(source), runtime)
    run.execute(None)
    http.close()
    assert seen == [[("main", "outer"), ("sub", "look")]]
    assert run.current_steps() == []


def test_values_nested_beyond_reason_are_an_error_that_can_be_caught(run: RunIt) -> None:
    source = """
    main:
      params: [text]
      steps:
        - t:
            try: {assign: [{x: "${json.decode(text)}"}]}
            except: {as: e, steps: [{out: {return: "${e.tags}"}}]}
        - out: {return: fine}
    """
    assert run(source, "[" * 20 + "]" * 20) == "fine"
    assert run(source, "[" * 900 + "]" * 900) in (["RecursionError"], ["ValueError"])


def test_an_inline_switch_under_try_jumps_outside(run: RunIt) -> None:
    source = """
    - init: {assign: [{n: 0}]}
    - t:
        try:
          switch: [{condition: "${n < 3}", next: count}]
        except: {as: e, steps: [{out: {raise: "${e}"}}]}
    - out: {return: "${n}"}
    - count: {assign: [{n: "${n + 1}"}], next: t}
    """
    assert run(source) == 3


def test_ten_thousand_steps_a_second(run: RunIt) -> None:
    source = """
    - init: {assign: [{total: 0}]}
    - loop:
        for: {value: i, range: [1, 20000], steps: [{add: {assign: [{total: "${total + i}"}]}}]}
    - out: {return: "${total}"}
    """
    assert run(source) == 200010000
