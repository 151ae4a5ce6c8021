"""Handlers for a gRPC server, from the method table."""

from __future__ import annotations

from typing import Any

from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.handlers import generic_handlers


class Call:
    """What gRPC hands to a handler."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


def test_one_handler_a_service_finds_its_methods() -> None:
    def load(request: Any, _: Any) -> m.LoadResponse:
        assert request.model_key == "k"
        return m.LoadResponse()

    def stream(_: Any, __: Any) -> list[m.GenerateStreamResponse]:
        return [m.GenerateStreamResponse()]

    handlers = generic_handlers({methods.LOAD: load, methods.GENERATE_STREAM: stream})
    assert [handler.service_name() for handler in handlers] == [methods.MODELET, methods.LM]
    found: Any = handlers[0].service(Call("/sax.Modelet/Load"))
    request = found.request_deserializer(m.LoadRequest(model_key="k").SerializeToString())
    assert found.response_serializer(found.unary_unary(request, None)) == b""
    assert handlers[1].service(Call("/sax.server.lm.LMService/GenerateStream")).unary_stream
    assert handlers[1].service(Call("/sax.server.lm.LMService/Generate")) is None
