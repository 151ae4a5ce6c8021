"""Services with a method of every mood, and what is read off their answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from google.api_core import exceptions
from google.pubsub_v1 import types
from google.rpc import error_details_pb2

from saxflow.local.http import Response

TOPIC = "projects/p/topics/events"
PARENT = "projects/p/locations/l"


class Publisher:
    """A service with a method of every mood."""

    def __init__(self) -> None:
        self.published: list[types.PublishRequest] = []

    def get_topic(self, request: types.GetTopicRequest) -> types.Topic:
        info = error_details_pb2.ErrorInfo(reason="MISSING", domain="pubsub")
        raise exceptions.NotFound(f"{request.topic} is nowhere", details=[info])

    def create_topic(self, request: types.Topic) -> types.Topic:
        return request

    def delete_topic(self, request: types.DeleteTopicRequest) -> types.Topic:
        raise KeyError(request.topic)

    def list_topics(self, request: types.ListTopicsRequest) -> types.ListTopicsResponse:
        return types.ListTopicsResponse(next_page_token=f"{request.project}#{request.page_size}")

    def publish(self, request: types.PublishRequest) -> types.PublishResponse:
        self.published.append(request)
        return types.PublishResponse(message_ids=["é"])


class Subscriber:
    """Streams that end in several ways."""

    def streaming_pull(self, stream: Any) -> Iterator[types.StreamingPullResponse]:
        for request in stream:
            assert stream.is_active()
            if request.subscription == "bug":
                raise ValueError("a bug")
            if request.subscription == "none":
                raise exceptions.NotFound("no such subscription")
            message = types.PubsubMessage(message_id=request.subscription)
            yield types.StreamingPullResponse(
                received_messages=[types.ReceivedMessage(message=message)]
            )

    def create_subscription(self, request: types.Subscription) -> types.Subscription:
        return types.Subscription(request, state=types.Subscription.State.ACTIVE)


Ask = Callable[..., Response]


def value(answer: Response) -> Any:
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


def refusal(answer: Response, code: int, status: str) -> dict[str, Any]:
    """Return an error object after a look at its code."""
    error = value(answer)["error"]
    assert (answer.status, error["code"], error["status"]) == (code, code, status)
    return error
