from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.clock import VirtualClock
from saxflow.local.workflows import WorkflowFailure

RunIt = Callable[..., Any]


def test_an_error_is_caught_and_its_handlers_variables_stay_inside(run: RunIt) -> None:
    source = """
    - t:
        try:
          steps:
            - a: {assign: [{x: 1}]}
            - b: {assign: [{y: "${1 / 0}"}]}
        except:
          as: e
          steps:
            - note: {assign: [{tags: "${e.tags}"}, {x: "${x + 1}"}]}
    - out: {return: ["${x}", "${tags}"]}
    """
    with pytest.raises(WorkflowFailure, match="variable not found: tags"):
        run(source)
    seen = "    - init: {assign: [{tags: null}]}" + source
    assert run(seen) == [2, ["ZeroDivisionError"]]


def test_a_string_or_map_raised_is_what_is_caught(run: RunIt) -> None:
    source = """
    main:
      params: [what]
      steps:
        - t:
            try: {raise: "${what}"}
            except: {as: e, steps: [{out: {return: "${e}"}}]}
    """
    assert run(source, "plain") == "plain"
    assert run(source, {"code": 5, "tags": ["Mine"]}) == {"code": 5, "tags": ["Mine"]}


def test_a_handler_may_raise_again_with_all_tags(run: RunIt) -> None:
    source = """
    - t:
        try: {raise: {message: no, tags: [Mine]}}
        except: {as: e, steps: [{again: {raise: "${e}"}}]}
    """
    with pytest.raises(WorkflowFailure) as caught:
        run(source)
    assert caught.value.payload == {"message": "no", "tags": ["Mine"]}


def test_a_handler_may_jump_to_the_enclosing_list(run: RunIt) -> None:
    source = """
    - t:
        try: {raise: gone}
        except:
          as: e
          steps:
            - choose: {switch: [{condition: "${e == \\"gone\\"}", next: missing}]}
        next: found
    - missing: {return: missing}
    - found: {return: found}
    """
    assert run(source) == "missing"


def test_a_handler_may_break_a_loop_around_it(run: RunIt) -> None:
    source = """
    - init: {assign: [{n: 0}]}
    - loop:
        for:
          value: v
          in: [1, 2, 3]
          steps:
            - t:
                try: {steps: [{count: {assign: [{n: "${n + 1}"}]}}, {bad: {raise: stop}}]}
                except: {steps: [{out: {next: break}}]}
    - out: {return: "${n}"}
    """
    assert run(source) == 1


COUNTED = """
main:
  params: [args]
  steps:
    - init: {{assign: [{{count: 0}}]}}
    - t:
        try:
          steps:
            - count: {{assign: [{{count: "${{count + 1}}"}}]}}
            - maybe: {{switch: [{{condition: "${{count <= args}}", raise: {{code: 503, tags: [HttpError]}}}}]}}
        retry: {retry}
        except: {{as: e, steps: [{{out: {{return: ["${{count}}", failed]}}}}]}}
    - out: {{return: ["${{count}}", fine]}}
mine:
  params: [e]
  steps: [{{out: {{return: "${{e.code == 503}}"}}}}]
never:
  params: [e]
  steps: [{{out: {{return: false}}}}]
broken:
  params: [e]
  steps: [{{out: {{return: "${{e.missing}}"}}}}]
"""


def policy(predicate: str, retries: int = 3) -> str:
    return (
        f'{{predicate: "${{{predicate}}}", max_retries: {retries},'
        " backoff: {initial_delay: 2, max_delay: 5, multiplier: 2}}"
    )


def test_retries_repeat_the_whole_block_and_wait_longer_each_time(
    run: RunIt, clock: VirtualClock
) -> None:
    assert run(COUNTED.format(retry=policy("mine")), 3) == [4, "fine"]
    assert clock.time() == 1000.0 + 2 + 4 + 5


def test_max_retries_counts_retries_not_attempts(run: RunIt) -> None:
    assert run(COUNTED.format(retry=policy("mine")), 4) == [4, "failed"]
    assert run(COUNTED.format(retry=policy("mine", 0)), 4) == [1, "failed"]


@pytest.mark.parametrize("predicate", ["never", "broken", "retry.never"])
def test_a_predicate_that_refuses_or_fails_ends_the_retries(run: RunIt, predicate: str) -> None:
    assert run(COUNTED.format(retry=policy(predicate)), 1) == [1, "failed"]


@pytest.mark.parametrize(
    "retry", ['"${http.default_retry}"', '"${http.default_retry_non_idempotent}"']
)
def test_predefined_policies(run: RunIt, retry: str) -> None:
    assert run(COUNTED.format(retry=retry), 2) == [3, "fine"]
    assert run(COUNTED.format(retry=retry), 6) == [6, "failed"]


def test_a_policy_may_be_put_together_of_predefined_parts(run: RunIt) -> None:
    retry = (
        '{predicate: "${http.default_retry_predicate}", max_retries: "${1 + 1}",'
        ' backoff: "${retry.default_backoff}"}'
    )
    assert run(COUNTED.format(retry=retry), 2) == [3, "fine"]


def test_retry_without_except_raises_what_is_left(run: RunIt) -> None:
    source = """
    - t:
        try: {raise: no}
        retry: {predicate: "${retry.always}", max_retries: 2, backoff: {initial_delay: 1, max_delay: 1, multiplier: 1}}
    """
    with pytest.raises(WorkflowFailure, match="no"):
        run(source)
