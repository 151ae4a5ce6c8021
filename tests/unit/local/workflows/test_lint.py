from __future__ import annotations

import pytest

from saxflow.local.workflows.lint import check, check_references
from saxflow.local.workflows.parser import parse_workflow

CLEAN = """
main:
  params: [args]
  steps:
    - init: {assign: [{total: 0}, {m: {}}]}
    - loop:
        for:
          value: v
          in: ${args.items}
          steps:
            - add: {assign: [{total: "${total + v}"}, {"m[v]": 1}]}
            - leave: {switch: [{condition: "${total > 10}", next: break}]}
    - ask:
        try: {call: http.get, args: {url: "${args.url}", auth: {type: OAuth2}}, result: r}
        retry: {predicate: "${mine}", max_retries: 3, backoff: {initial_delay: 1, max_delay: 9, multiplier: 2}}
        except: {as: e, steps: [{see: {switch: [{condition: "${not(e.code == 404)}", raise: "${e}"}], next: done}}]}
    - use: {assign: [{total: "${total + r.body.n + helper(1)}"}]}
    - done: {return: "${total}"}
mine:
  params: [e]
  steps: [{a: {return: '${"HttpError" in e.tags}'}}]
helper:
  params: [n, plus: 1]
  steps: [{a: {return: "${n + plus}"}}]
"""


def test_a_sound_workflow_has_no_problems() -> None:
    assert check(CLEAN) == []


def main(*steps: str) -> str:
    listing = "\n".join(f"    - s{n}: {step}" for n, step in enumerate(steps))
    return f"main:\n  params: [args]\n  steps:\n{listing}\n"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        (main("{next: nowhere}"), "'nowhere' does not exist"),
        (main("{steps: [{inner: {next: end}}]}", "{next: inner}"), "cannot be reached from here"),
        (main("{next: break}"), "outside of a for loop"),
        (
            main("{for: {value: v, in: [1], steps: [{x: {next: s1}}]}}", "{return: 1}"),
            "cannot be reached",
        ),
        (main("{call: htp.get, args: {url: x}}"), "no such function"),
        (main("{call: googleapis.tpu.v2.nodes.get}"), "connector is unknown"),
        (main("{call: http.get, args: {ulr: x}}"), "argument 'url' is missing"),
        (main("{call: http.get, args: {url: x, retries: 1}}"), "unexpected argument 'retries'"),
        (main("{call: sys.sleep, args: {second: 1}}"), "unexpected argument 'second'"),
        (main("{return: '${nothing(1)}'}"), "nothing(): no such function"),
        (main("{return: '${len()}'}"), "len() takes (value)"),
        (main("{return: '${http.get(1)}'}"), "blocks"),
        (main("{return: '${x}'}"), "symbol 'x' is neither"),
        (main("{return: '${x}'}", "{assign: [{x: 1}]}"), "'x' is read before"),
        (main("{assign: [{x.y: 1}]}"), "symbol 'x' is neither"),
        (
            main(
                "{for: {value: v, in: [1], steps: [{x: {assign: [{y: 1}]}}]}}", "{return: '${y}'}"
            ),
            "symbol 'y' is neither",
        ),
        (main("{return: '${not args == 1}'}"), "'not' binds tighter"),
        (main("{return: '${http.default_retries}'}"), "http.default_retries is unknown"),
        (
            main(
                "{try: {call: sys.log, args: {data: 1}}, retry: {predicate: '${http.default_retry}'}}"
            ),
            "is no function",
        ),
        (main("{assign: [{x: no}]}"), "put it in quotes"),
        ("main: {steps: [{on: {return: 1}}]}", "'on' is a boolean in yaml 1.1"),
        ("main: {steps: [{end: {return: 1}}]}", "step name 'end' is reserved"),
        (
            main(
                "{assign: [{x: 0}]}",
                "{parallel: {for: {value: v, in: [1], steps: [{a: {assign: [{x: 1}]}}]}}}",
            ),
            "list it under 'shared'",
        ),
        (
            main("{parallel: {for: {value: v, in: [1], steps: [{a: {return: 1}}]}}}"),
            "leaves only the branch",
        ),
        (CLEAN + "len: {steps: [{a: {return: 1}}]}\n", "'len' is a reserved name"),
        (CLEAN.replace("params: [e]", "params: [e, f]"), "exactly one param"),
        (CLEAN.replace("helper(1)", "helper()"), "'n' is missing"),
        (CLEAN.replace("helper(1)", "helper(1, 2, 3)"), "takes 2 arguments"),
        (
            "main: {steps: [{a: {call: sub, args: {y: 1}}}]}\nsub: {params: [x], steps: [{a: {return: 1}}]}",
            "'x' is missing",
        ),
        ("a: [", "not YAML"),
        (main("{call: http.get, args: {url: x}}"), "must start with http"),
        (main("{call: http.get, args: {url: '${args}', timeout: 3600}}"), "timeout of 3600"),
        (
            main("{call: http.get, args: {url: '${args}', auth: {type: Basic}}}"),
            "use OAuth2 or OIDC",
        ),
        (main("{call: http.request, args: {url: '${args}', method: FETCH}}"), "is unknown"),
        (main("{steps: [{s0: {next: end}}]}"), "'s0' occurs 2 times"),
    ],
)
def test_problems(source: str, part: str) -> None:
    found = "\n".join(str(problem) for problem in check(source))
    assert part in found


def test_jumps_back_make_later_assignments_count() -> None:
    source = main("{next: s2}", "{return: '${x}'}", "{assign: [{x: 1}], next: s1}")
    assert check(source) == []


def test_problems_come_in_the_order_of_lines() -> None:
    source = main("{return: '${x}'}", "{next: nowhere}", "{call: nothing}")
    assert [problem.line for problem in check(source)] == [4, 5, 6]


def test_references_leave_variables_and_style_aside() -> None:
    workflow = parse_workflow(main("{return: '${x}'}", "{assign: [{x: no}]}", "{next: nowhere}"))
    assert [problem.path for problem in check_references(workflow)] == ["main.s2"]


def in_branches(step: str) -> str:
    return main(
        "{assign: [{x: 0}]}",
        f"{{parallel: {{for: {{value: v, in: [1], steps: [{{a: {step}}}]}}}}}}",
    )


def test_a_write_to_what_is_not_shared_is_refused_at_deployment() -> None:
    (problem,) = check_references(parse_workflow(in_branches("{assign: [{x: 1}]}")))
    assert "list it under 'shared'" in problem.message


@pytest.mark.parametrize(
    "step",
    [
        "{for: {value: x, in: [1], steps: [{b: {assign: [{x: 2}]}}]}}",
        "{for: {value: w, index: x, in: [1], steps: [{b: {assign: [{x: 2}]}}]}}",
        "{try: {raise: gone}, except: {as: x, steps: [{b: {assign: [{x: 2}]}}]}}",
        "{assign: [{y: 1}]}",
    ],
)
def test_what_a_branch_declares_itself_needs_no_sharing(step: str) -> None:
    assert check(in_branches(step)) == []
