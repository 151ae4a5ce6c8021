"""Topics and subscriptions, and what publishing to one means for the other."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from google.api_core import exceptions
from google.pubsub_v1 import types

from saxflow.local.clock import Clock
from saxflow.local.pubsub.backlog import Backlog
from saxflow.local.pubsub.filters import Filter, parse_filter

_FIXED = frozenset({"name", "topic", "filter", "enable_message_ordering"})
DELETED_TOPIC = "_deleted-topic_"
_DEFAULT_ACK_SECONDS = 10
_MESSAGE_LIMIT_BYTES = 10_000_000
_BATCH_LIMIT = 1000
_KEY_LIMIT_BYTES = 1024
_LEAST_BACKOFF_SECONDS = 10.0
_LARGEST_BACKOFF_SECONDS = 600.0
_NAME = re.compile(
    r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][A-Za-z0-9._~%+-]{2,254}"
)


@dataclass
class Subscribed:
    """One subscription: its definition, its filter, its backlog."""

    definition: types.Subscription
    passes: Filter
    backlog: Backlog


class Broker:
    """All topics and subscriptions; they live as long as the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._topics: dict[str, types.Topic] = {}
        self._subscriptions: dict[str, Subscribed] = {}
        self._message_ids = itertools.count(int(clock.time() * 1000))

    # Topics

    def create_topic(self, topic: types.Topic) -> types.Topic:
        """Add a topic.

        Raises:
            InvalidArgument: an illegal name.
            AlreadyExists.
        """
        _check_name(topic.name, "topics")
        with self._lock:
            if topic.name in self._topics:
                raise exceptions.AlreadyExists(f"Resource already exists: {topic.name}")
            self._topics[topic.name] = topic
        return topic

    def topic(self, name: str) -> types.Topic:
        """Return a topic.

        Raises:
            NotFound.
        """
        with self._lock:
            found = self._topics.get(name)
        if found is None:
            raise exceptions.NotFound(f"Resource not found (resource={name.rpartition('/')[2]}).")
        return found

    def topics(self, project: str) -> list[types.Topic]:
        """Return the topics of `projects/P` in name order."""
        with self._lock:
            found = [self._topics[name] for name in sorted(self._topics)]
        return [each for each in found if each.name.startswith(f"{project}/topics/")]

    def delete_topic(self, name: str) -> None:
        """Delete a topic; its subscriptions stay, with what they hold.

        Raises:
            NotFound.
        """
        with self._lock:
            self.topic(name)
            del self._topics[name]
            for subscribed in self._of_topic(name):
                subscribed.definition.topic = DELETED_TOPIC

    def publish(self, topic: str, messages: Sequence[types.PubsubMessage]) -> list[str]:
        """Hand messages to every subscription whose filter they pass; return their ids.

        Raises:
            NotFound: no such topic.
            InvalidArgument: none or too many; a message is empty, too large or has illegal attributes.
        """
        if not 1 <= len(messages) <= _BATCH_LIMIT:
            raise exceptions.InvalidArgument(
                f"a request has 1 to {_BATCH_LIMIT} messages, not {len(messages)}"
            )
        for message in messages:
            _check_message(message)
        with self._lock:
            self.topic(topic)
            receivers = self._of_topic(topic)
            return [self._hand_out(message, receivers) for message in messages]

    # Subscriptions

    def create_subscription(self, wanted: types.Subscription) -> types.Subscription:
        """Add a subscription; it receives what is published from now on.

        Raises:
            InvalidArgument: an illegal name, deadline, filter or retry policy.
            NotFound: no such topic.
            AlreadyExists.
        """
        _check_name(wanted.name, "subscriptions")
        definition = types.Subscription(wanted)
        _complete(definition)
        definition.state = types.Subscription.State.ACTIVE
        passes = parse_filter(definition.filter)
        backlog = Backlog(definition.name, self._clock, ordered=definition.enable_message_ordering)
        with self._lock:
            self.topic(definition.topic)
            if definition.name in self._subscriptions:
                raise exceptions.AlreadyExists(f"Resource already exists: {definition.name}")
            subscribed = Subscribed(definition, passes, backlog)
            self._subscriptions[definition.name] = subscribed
        _set_backoff(subscribed)
        return definition

    def subscription(self, name: str) -> Subscribed:
        """Return a subscription.

        Raises:
            NotFound.
        """
        with self._lock:
            found = self._subscriptions.get(name)
        if found is None:
            raise exceptions.NotFound(f"Resource not found (resource={name.rpartition('/')[2]}).")
        return found

    def receivable(self, name: str) -> Subscribed:
        """Return a subscription that messages can be pulled from.

        Raises:
            NotFound.
            FailedPrecondition: it was detached.
        """
        subscribed = self.subscription(name)
        if subscribed.definition.detached:
            raise exceptions.FailedPrecondition(f"{name} is detached from its topic")
        return subscribed

    def subscriptions(self, project: str) -> list[types.Subscription]:
        """Return the subscriptions of `projects/P` in name order."""
        with self._lock:
            found = [self._subscriptions[name].definition for name in sorted(self._subscriptions)]
        return [each for each in found if each.name.startswith(f"{project}/subscriptions/")]

    def subscriptions_of(self, topic: str) -> list[str]:
        """Return the names of a topic's subscriptions.

        Raises:
            NotFound.
        """
        self.topic(topic)
        with self._lock:
            return sorted(each.definition.name for each in self._of_topic(topic))

    def update_subscription(
        self, wanted: types.Subscription, paths: Sequence[str]
    ) -> types.Subscription:
        """Change fields of a subscription.

        Raises:
            NotFound.
            InvalidArgument: a field that cannot change.
        """
        subscribed = self.subscription(wanted.name)
        fixed = _FIXED & set(paths)
        if fixed:
            raise exceptions.InvalidArgument(f"{', '.join(sorted(fixed))} cannot be updated")
        if not paths:
            raise exceptions.InvalidArgument("update_mask must name at least one field")
        with self._lock:
            changed = types.Subscription(subscribed.definition)
            _copy_fields(wanted, changed, paths)
            _complete(changed)
            subscribed.definition = changed
        _set_backoff(subscribed)
        return subscribed.definition

    def detach(self, name: str) -> None:
        """Cut a subscription off its topic and drop what it holds.

        Raises:
            NotFound.
        """
        subscribed = self.subscription(name)
        subscribed.definition.detached = True
        subscribed.backlog.purge(float("inf"))
        subscribed.backlog.wake()

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription with what it holds.

        Raises:
            NotFound.
        """
        with self._lock:
            subscribed = self.subscription(name)
            del self._subscriptions[name]
        subscribed.definition.detached = True
        subscribed.backlog.wake()

    def wake(self) -> None:
        """Wake everybody who waits for messages."""
        with self._lock:
            everything = list(self._subscriptions.values())
        for subscribed in everything:
            subscribed.backlog.wake()

    def _hand_out(self, message: types.PubsubMessage, receivers: Sequence[Subscribed]) -> str:
        stamped = types.PubsubMessage(message)
        stamped.message_id = str(next(self._message_ids))
        stamped.publish_time = cast(Any, self._clock.now())
        attributes = dict(stamped.attributes)
        for subscribed in receivers:
            if subscribed.passes(attributes):
                subscribed.backlog.add(stamped)
        return stamped.message_id

    def _of_topic(self, topic: str) -> list[Subscribed]:
        return [
            each
            for each in self._subscriptions.values()
            if each.definition.topic == topic and not each.definition.detached
        ]


def _check_name(name: str, collection: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None or match[1] != collection:
        raise exceptions.InvalidArgument(
            f"Invalid resource name {name!r}: use projects/PROJECT/{collection}/ID; the id has 3 to 255 characters, begins with a letter"
            " and not with goog"
        )


def _check_message(message: types.PubsubMessage) -> None:
    attributes = dict(message.attributes)
    if not message.data and not attributes:
        raise exceptions.InvalidArgument("a message needs data or at least one attribute")
    if len(message.data) > _MESSAGE_LIMIT_BYTES:
        raise exceptions.InvalidArgument(f"a message has at most {_MESSAGE_LIMIT_BYTES} bytes")
    key_bytes = len(message.ordering_key.encode())
    if key_bytes > _KEY_LIMIT_BYTES:
        raise exceptions.InvalidArgument(
            f"an ordering key of {key_bytes} bytes; it has at most {_KEY_LIMIT_BYTES}"
        )
    if len(attributes) > 100 or any(
        key.startswith("goog") or not 0 < len(key.encode()) <= 256 or len(value.encode()) > 1024
        for key, value in attributes.items()
    ):
        raise exceptions.InvalidArgument(
            "at most 100 attributes, keys of 1 to 256 bytes that do not begin with goog,"
            " values of at most 1024 bytes"
        )


def _backoff(policy: types.RetryPolicy, name: str, unset: float) -> float:
    return cast(timedelta, getattr(policy, name)).total_seconds() if name in policy else unset


def check_ack_seconds(seconds: int, least: int) -> None:
    """Refuse a deadline that no message may have.

    Raises:
        InvalidArgument.
    """
    if not least <= seconds <= 600:
        raise exceptions.InvalidArgument(
            f"ack deadline of {seconds} s is not within {least} to 600 s"
        )


def _complete(definition: types.Subscription) -> None:
    """Check what a definition says of time, and set what it leaves open."""
    definition.ack_deadline_seconds = definition.ack_deadline_seconds or _DEFAULT_ACK_SECONDS
    check_ack_seconds(definition.ack_deadline_seconds, 10)
    for name in ("minimum_backoff", "maximum_backoff"):
        seconds = _backoff(definition.retry_policy, name, 0.0)
        if not 0 <= seconds <= _LARGEST_BACKOFF_SECONDS:
            raise exceptions.InvalidArgument(
                f"{name} of {seconds:g} s is not within 0 to {_LARGEST_BACKOFF_SECONDS:g} s"
            )


def _copy_fields(source: Any, target: Any, paths: Sequence[str]) -> None:
    for path in paths:
        name = path.partition(".")[0]
        if name not in type(target).meta.fields:
            raise exceptions.InvalidArgument(f"no field {path!r}")
        setattr(target, name, getattr(source, name))


def _set_backoff(subscribed: Subscribed) -> None:
    if "retry_policy" not in subscribed.definition:
        subscribed.backlog.backoff = lambda _: 0.0
        return
    policy = subscribed.definition.retry_policy
    low = _backoff(policy, "minimum_backoff", _LEAST_BACKOFF_SECONDS)
    high = max(low, _backoff(policy, "maximum_backoff", _LARGEST_BACKOFF_SECONDS))
    subscribed.backlog.backoff = lambda attempt: min(low * 2.0 ** min(attempt - 1, 60), high)
