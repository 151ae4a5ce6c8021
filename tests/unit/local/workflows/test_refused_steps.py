"""Steps that Google's service refuses at deployment, refused by the embedded parser too."""

import pytest

from saxflow.local.workflows.document import SourceError
from saxflow.local.workflows.parser import parse_workflow


@pytest.mark.parametrize(
    "step",
    [
        "{cal: http.get}",
        "{call: f, args: {a: 1}, results: r}",
        "{assign: {x: 1}}",
        "{assign: []}",
        "{switch: [{next: end}]}",
        "{for: {value: v, steps: [{a: {next: end}}]}}",
        "{parallel: {shared: [x]}}",
        "{try: {call: f}, except: {as: e, step: []}}",
        "{try: {call: f}, retry: {predicates: x}}",
        "{steps: []}",
    ],
)
def test_a_step_the_service_refuses_is_refused(step: str) -> None:
    with pytest.raises(SourceError):
        parse_workflow(f"main:\n  steps:\n    - a: {step}\n")
