"""What an admin refuses, in the words of the real one."""

from __future__ import annotations

from typing import Any

import pytest

from saxflow.cell import validators
from saxflow.errors import SaxError
from saxflow.sax import messages as m
from saxflow.sax.names import CellName

CELL = CellName("test")
TAIL = ": rpc error: code = InvalidArgument desc = InvalidArgument"


def model(**changes: Any) -> m.Model:
    fields: dict[str, Any] = {
        "model_id": "/sax/test/m",
        "model_path": "a.B",
        "checkpoint_path": "gs://b/checkpoint_00000000",
        "requested_num_replicas": 1,
    }
    return m.Model(**{**fields, **changes})


def test_a_good_model_passes() -> None:
    assert str(validators.check_model(model(), CELL)) == "/sax/test/m"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"model_id": "m"},
            'model full name "m" should have the form /sax/<cell name>/<model name>',
        ),
        ({"model_id": "/sax/test/M"}, 'model name "M" must match "^[a-z]+[a-z0-9-_]*$"'),
        ({"model_id": "/x/m"}, 'cell full name "/x" should have the form /sax/<cell name>'),
        ({"model_id": "/sax/T/m"}, 'cell name "T" must match "^[a-z]+[a-z0-9-_]*$"'),
        ({"model_id": "/sax/other/m"}, 'model /sax/other/m must be within SAX cell "/sax/test"'),
        ({"model_path": "9"}, 'model path "9" must match "^[a-zA-Z]+[a-zA-Z0-9_.-]*$"'),
        ({"requested_num_replicas": -1}, "number of replicas -1 must be non-negative"),
        ({"admin_acl": "me"}, "me is not a valid ACL name (must start with one of [acl/])"),
        ({"acls": m.AccessControlLists(items={"x": "acl/y"})}, "x is not a valid method name"),
    ],
)
def test_bad_models_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SaxError) as caught:
        validators.check_model(model(**changes), CELL)
    assert str(caught.value) == text + TAIL
    assert caught.value.code == "INVALID_ARGUMENT"


def test_a_bad_checkpoint_is_refused() -> None:
    with pytest.raises(SaxError, match=r'checkpoint path "a b" must match'):
        validators.check_model(model(checkpoint_path="a b"), CELL)


@pytest.mark.parametrize(
    "changes", [{"admin_acl": "acl/a"}, {"acls": m.AccessControlLists(items={"lm.score": "acl/a"})}]
)
def test_access_control_is_unsupported(changes: dict[str, Any]) -> None:
    with pytest.raises(SaxError, match="ACL check is not supported") as caught:
        validators.check_model(model(**changes), CELL)
    assert caught.value.code == "UNIMPLEMENTED"


def test_an_update_may_change_replicas_only() -> None:
    validators.check_update(model(), model(requested_num_replicas=3))
    for changes in ({"model_path": "c.D"}, {"checkpoint_path": "x"}, {"model_id": "/sax/test/n"}):
        with pytest.raises(SaxError, match=r"invalid model update: .* can't be changed"):
            validators.check_update(model(), model(**changes))


def test_a_negative_seqno_is_refused() -> None:
    validators.check_seqno(0)
    with pytest.raises(SaxError, match="seqno -1 should be non-negative"):
        validators.check_seqno(-1)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (m.JoinRequest(), "modelet_address cannot be empty"),
        (m.JoinRequest(address="a:1"), "modelet missing"),
        (m.JoinRequest(address="a:1", model_server=m.ModelServer()), "chip_type cannot be unknown"),
        (
            m.JoinRequest(address="a:1", model_server=m.ModelServer(chip_type=15)),
            "chip_topology cannot be unknown",
        ),
    ],
)
def test_a_server_must_say_what_it_is(request_: m.JoinRequest, text: str) -> None:
    with pytest.raises(SaxError, match=text):
        validators.check_join(request_)


def test_model_name_returns_the_parts() -> None:
    assert validators.model_name("/sax/test/a-b_1", CELL).model == "a-b_1"
