"""The method table."""

from __future__ import annotations

from saxflow.sax import messages as m
from saxflow.sax import methods


def test_paths_are_those_on_the_wire() -> None:
    assert methods.PUBLISH.path == "/sax.Admin/Publish"
    assert methods.GET_STATUS.path == "/sax.Modelet/GetStatus"
    assert methods.GENERATE_STREAM.path == "/sax.server.lm.LMService/GenerateStream"


def test_every_method_is_listed_once_and_only_one_streams() -> None:
    assert len({method.path for method in methods.ALL}) == len(methods.ALL) == 19
    assert [method for method in methods.ALL if method.streams] == [methods.GENERATE_STREAM]


def test_generate_and_its_stream_take_the_same_request() -> None:
    assert methods.GENERATE.request is methods.GENERATE_STREAM.request is m.GenerateRequest
