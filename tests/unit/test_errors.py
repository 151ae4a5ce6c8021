"""One tree of exceptions; each class has its exit code, and the tree drawn in the module is true."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

from saxflow import errors
from saxflow.errors import CloudError, ManifestError, Problem, RequestError, SaxError, SaxflowError

DRAWN = re.compile(r"^\s*[│ ]*(?:[├└]── )?(\w+Error) +(?:exit (\d))?", re.MULTILINE)


def below(root: type[SaxflowError]) -> Iterator[type[SaxflowError]]:
    for child in root.__subclasses__():
        yield child
        yield from below(child)


def test_the_drawing_names_every_class_and_its_exit_code() -> None:
    drawn = dict(DRAWN.findall(errors.__doc__ or ""))
    classes = {
        SaxflowError,
        *(each for each in below(SaxflowError) if each.__module__ == "saxflow.errors"),
    }
    assert set(drawn) == {each.__name__ for each in classes}
    for each in classes:
        assert drawn[each.__name__] in ("", str(each.exit_code)), each


def test_all_exceptions_of_the_package_are_in_the_tree() -> None:
    found = [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, Exception)
    ]
    assert all(issubclass(each, SaxflowError) for each in found)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("INVALID_ARGUMENT", 3),
        ("NOT_FOUND", 4),
        ("DEADLINE_EXCEEDED", 5),
        ("UNAVAILABLE", 6),
        ("RESOURCE_EXHAUSTED", 6),
        ("INTERNAL", 1),
    ],
)
def test_a_sax_refusal_exits_after_its_code(code: str, exit_code: int) -> None:
    error = SaxError("Publish in /sax/test: no", code=code)
    assert (error.exit_code, error.code, error.retryable) == (exit_code, code, False)


def test_a_cloud_refusal_exits_after_whether_it_is_worth_repeating() -> None:
    final = CloudError("read gs://b/o: no", service="storage", code=403)
    again = CloudError("read gs://b/o: later", service="storage", code=503, retryable=True)
    assert (final.exit_code, again.exit_code) == (1, 6)
    assert (again.service, again.code) == ("storage", 503)


def test_a_manifest_tells_all_its_problems() -> None:
    problems = [Problem("", "is empty"), Problem("tpu.zones[0]", "'x' is no zone", 4, 15)]
    error = ManifestError("m.yaml", problems)
    assert str(error) == "m.yaml: 2 problems\n  is empty\n  4:15: tpu.zones[0]: 'x' is no zone"
    assert error.problems == tuple(problems)
    assert str(ManifestError("m.yaml", problems[:1])).startswith("m.yaml: 1 problem\n")


def test_a_request_names_field_code_and_status() -> None:
    error = RequestError("too long", param="prompt", code="context_length_exceeded", status=413)
    assert (error.param, error.code, error.status, error.exit_code) == (
        "prompt",
        "context_length_exceeded",
        413,
        3,
    )
    assert RequestError("no").status == 400
