"""The Publisher and Subscriber APIs over the broker.

Source: google/pubsub/v1/pubsub.proto.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol, cast

from google.api_core import exceptions
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from saxflow.local.paging import page
from saxflow.local.pubsub.backlog import Entry
from saxflow.local.pubsub.broker import Broker, Subscribed, check_ack_seconds

_PULL_SECONDS = 5.0
_BATCH = 100
_UNLIMITED = 1 << 62


class PublisherService:
    """Topics."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_topic(self, request: types.Topic) -> types.Topic:
        """Serve CreateTopic."""
        return self._broker.create_topic(request)

    def get_topic(self, request: types.GetTopicRequest) -> types.Topic:
        """Serve GetTopic."""
        return self._broker.topic(request.topic)

    def update_topic(self, request: types.UpdateTopicRequest) -> types.Topic:
        """Serve UpdateTopic: labels only."""
        topic = self._broker.topic(request.topic.name)
        if list(request.update_mask.paths) != ["labels"]:
            raise exceptions.InvalidArgument("only labels of a topic can be updated")
        topic.labels = request.topic.labels
        return topic

    def list_topics(self, request: types.ListTopicsRequest) -> types.ListTopicsResponse:
        """Serve ListTopics."""
        topics = self._broker.topics(request.project)
        shown, token = page(topics, request.page_size, request.page_token)
        return types.ListTopicsResponse(topics=shown, next_page_token=token)

    def list_topic_subscriptions(
        self, request: types.ListTopicSubscriptionsRequest
    ) -> types.ListTopicSubscriptionsResponse:
        """Serve ListTopicSubscriptions."""
        names = self._broker.subscriptions_of(request.topic)
        shown, token = page(names, request.page_size, request.page_token)
        return types.ListTopicSubscriptionsResponse(subscriptions=shown, next_page_token=token)

    def delete_topic(self, request: types.DeleteTopicRequest) -> empty_pb2.Empty:
        """Serve DeleteTopic."""
        self._broker.delete_topic(request.topic)
        return empty_pb2.Empty()

    def detach_subscription(
        self, request: types.DetachSubscriptionRequest
    ) -> types.DetachSubscriptionResponse:
        """Serve DetachSubscription."""
        self._broker.detach(request.subscription)
        return types.DetachSubscriptionResponse()

    def publish(self, request: types.PublishRequest) -> types.PublishResponse:
        """Serve Publish."""
        ids = self._broker.publish(request.topic, list(request.messages))
        return types.PublishResponse(message_ids=ids)


class Stream(Protocol):
    """The requests of one StreamingPull call, and whether it still runs."""

    def __iter__(self) -> Iterator[types.StreamingPullRequest]: ...

    def is_active(self) -> bool:
        """Return whether the peer still listens."""
        ...

    def on_end(self, callback: Callable[[], None]) -> bool:
        """Call back when the call ends; False when it already has."""
        ...


class SubscriberService:
    """Subscriptions."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_subscription(self, request: types.Subscription) -> types.Subscription:
        """Serve CreateSubscription."""
        return self._broker.create_subscription(request)

    def get_subscription(self, request: types.GetSubscriptionRequest) -> types.Subscription:
        """Serve GetSubscription."""
        return self._broker.subscription(request.subscription).definition

    def update_subscription(self, request: types.UpdateSubscriptionRequest) -> types.Subscription:
        """Serve UpdateSubscription."""
        paths = list(request.update_mask.paths)
        return self._broker.update_subscription(request.subscription, paths)

    def modify_push_config(self, request: types.ModifyPushConfigRequest) -> empty_pb2.Empty:
        """Serve ModifyPushConfig."""
        wanted = types.Subscription(name=request.subscription, push_config=request.push_config)
        self._broker.update_subscription(wanted, ["push_config"])
        return empty_pb2.Empty()

    def list_subscriptions(
        self, request: types.ListSubscriptionsRequest
    ) -> types.ListSubscriptionsResponse:
        """Serve ListSubscriptions."""
        subscriptions = self._broker.subscriptions(request.project)
        shown, token = page(subscriptions, request.page_size, request.page_token)
        return types.ListSubscriptionsResponse(subscriptions=shown, next_page_token=token)

    def delete_subscription(self, request: types.DeleteSubscriptionRequest) -> empty_pb2.Empty:
        """Serve DeleteSubscription."""
        self._broker.delete_subscription(request.subscription)
        return empty_pb2.Empty()

    def acknowledge(self, request: types.AcknowledgeRequest) -> empty_pb2.Empty:
        """Serve Acknowledge."""
        self._broker.subscription(request.subscription).backlog.acknowledge(request.ack_ids)
        return empty_pb2.Empty()

    def modify_ack_deadline(self, request: types.ModifyAckDeadlineRequest) -> empty_pb2.Empty:
        """Serve ModifyAckDeadline."""
        backlog = self._broker.subscription(request.subscription).backlog
        check_ack_seconds(request.ack_deadline_seconds, 0)
        for ack_id in request.ack_ids:
            backlog.modify(ack_id, request.ack_deadline_seconds)
        return empty_pb2.Empty()

    def pull(self, request: types.PullRequest) -> types.PullResponse:
        """Serve Pull: wait a few seconds for the first message."""
        if request.max_messages < 1:
            raise exceptions.InvalidArgument("max_messages must be at least 1")
        subscribed = self._broker.receivable(request.subscription)
        consumer, until = object(), time.monotonic() + _PULL_SECONDS
        while True:
            version = subscribed.backlog.version
            entries = _take(subscribed, consumer, request.max_messages)
            if entries or request.return_immediately or time.monotonic() >= until:
                return types.PullResponse(received_messages=_received(entries))
            subscribed.backlog.wait(version)
            self._broker.receivable(request.subscription)

    def seek(self, request: types.SeekRequest) -> types.SeekResponse:
        """Serve Seek to a time: everything published before it is acknowledged."""
        if request.snapshot:
            raise exceptions.MethodNotImplemented("snapshots are not part of the embedded cloud")
        backlog = self._broker.subscription(request.subscription).backlog
        if not request.time:
            raise exceptions.InvalidArgument("seek needs a time")
        backlog.purge(cast(datetime, request.time).timestamp())
        return types.SeekResponse()

    def streaming_pull(self, stream: Stream) -> Iterator[types.StreamingPullResponse]:
        """Serve StreamingPull."""
        requests = iter(stream)
        first = next(requests, None)
        if first is None:
            return
        subscribed = self._broker.receivable(first.subscription)
        check_ack_seconds(first.stream_ack_deadline_seconds, 10)
        call = _StreamingPull(stream, subscribed, first)
        everything = itertools.chain([first], requests)
        listener = threading.Thread(target=call.listen, args=(everything,), daemon=True)
        listener.start()
        yield from call.deliver(lambda: self._broker.receivable(first.subscription))


class _StreamingPull:
    """One streaming pull: what it delivers, how much it may hold, when it ends."""

    def __init__(
        self, stream: Stream, subscribed: Subscribed, first: types.StreamingPullRequest
    ) -> None:
        self._stream = stream
        self._subscribed = subscribed
        self._backlog = subscribed.backlog
        self._seconds = first.stream_ack_deadline_seconds
        self._most = _limit(first.max_outstanding_messages)
        self._most_bytes = _limit(first.max_outstanding_bytes)
        self._refusal: exceptions.InvalidArgument | None = None
        self._ended = False
        if not stream.on_end(self._end):
            self._ended = True

    def listen(self, requests: Iterator[types.StreamingPullRequest]) -> None:
        """Follow the peer's acknowledgements until it stops talking."""
        try:
            for request in requests:
                self._follow(request)
        except exceptions.InvalidArgument as refusal:
            self._refusal = refusal
        finally:
            self._end()

    def _follow(self, request: types.StreamingPullRequest) -> None:
        ack_ids, deadlines = request.modify_deadline_ack_ids, request.modify_deadline_seconds
        if len(ack_ids) != len(deadlines):
            raise exceptions.InvalidArgument(
                f"{len(ack_ids)} ack ids, {len(deadlines)} deadlines: each needs one"
            )
        for seconds in deadlines:
            check_ack_seconds(seconds, 0)
        if request.stream_ack_deadline_seconds:
            check_ack_seconds(request.stream_ack_deadline_seconds, 10)
            self._seconds = request.stream_ack_deadline_seconds
        self._backlog.acknowledge(request.ack_ids)
        for ack_id, seconds in zip(ack_ids, deadlines, strict=True):
            self._backlog.modify(ack_id, seconds)

    def deliver(self, check: Callable[[], Any]) -> Iterator[types.StreamingPullResponse]:
        """Yield messages as they come; `check` raises when the subscription is gone.

        Raises:
            InvalidArgument: the peer asked for what cannot be.
        """
        properties = types.StreamingPullResponse.SubscriptionProperties(
            message_ordering_enabled=self._subscribed.definition.enable_message_ordering
        )
        while not self._ended and self._stream.is_active():
            check()
            version = self._backlog.version
            if entries := self._taken():
                yield types.StreamingPullResponse(
                    received_messages=_received(entries), subscription_properties=properties
                )
            else:
                self._backlog.wait(version)
        if self._refusal is not None:
            raise self._refusal

    def _taken(self) -> list[Entry]:
        """Lease what the peer may hold besides what it holds already."""
        held, held_bytes = self._backlog.held(self)
        if held >= self._most or held_bytes >= self._most_bytes:
            return []
        limit = min(self._most - held, _BATCH)
        return self._backlog.take(self, limit, self._seconds, self._most_bytes - held_bytes)

    def _end(self) -> None:
        self._ended = True
        self._backlog.wake()


def _limit(wanted: int) -> int:
    return wanted if wanted > 0 else _UNLIMITED


def _take(subscribed: Subscribed, consumer: object, limit: int) -> list[Entry]:
    seconds = subscribed.definition.ack_deadline_seconds
    return subscribed.backlog.take(consumer, min(limit, 1000), seconds)


def _received(entries: list[Entry]) -> list[types.ReceivedMessage]:
    return [
        types.ReceivedMessage(
            ack_id=entry.ack_id, message=entry.message, delivery_attempt=entry.attempt
        )
        for entry in entries
    ]
