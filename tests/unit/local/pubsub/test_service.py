"""The Pub/Sub services without a wire: what each call answers and refuses."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.protobuf import field_mask_pb2
from google.pubsub_v1 import types

from saxflow.local.clock import VirtualClock
from saxflow.local.pubsub.broker import DELETED_TOPIC, Broker
from saxflow.local.pubsub.service import PublisherService, SubscriberService

PROJECT = "projects/p"
TOPIC = "projects/p/topics/events"
SUBSCRIPTION = "projects/p/subscriptions/reader"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def broker(clock: VirtualClock) -> Broker:
    return Broker(clock)


@pytest.fixture
def publisher(broker: Broker) -> PublisherService:
    publisher = PublisherService(broker)
    publisher.create_topic(types.Topic(name=TOPIC))
    return publisher


@pytest.fixture
def subscriber(broker: Broker, publisher: PublisherService) -> SubscriberService:
    subscriber = SubscriberService(broker)
    subscriber.create_subscription(types.Subscription(name=SUBSCRIPTION, topic=TOPIC))
    return subscriber


def publish(publisher: PublisherService, *texts: str, **fields: Any) -> list[str]:
    messages = [types.PubsubMessage(data=text.encode(), **fields) for text in texts]
    return list(publisher.publish(types.PublishRequest(topic=TOPIC, messages=messages)).message_ids)


def pull(subscriber: SubscriberService, most: int = 10) -> list[types.ReceivedMessage]:
    request = types.PullRequest(
        {"subscription": SUBSCRIPTION, "max_messages": most, "return_immediately": True}
    )
    return list(subscriber.pull(request).received_messages)


def texts(received: Sequence[types.ReceivedMessage]) -> list[str]:
    return [each.message.data.decode() for each in received]


def mask(*paths: str) -> field_mask_pb2.FieldMask:
    return field_mask_pb2.FieldMask(paths=paths)


# Topics


@pytest.mark.parametrize(
    "name",
    ["", "events", "projects/p/topics/", "projects/p/topics/ab", "projects/p/topics/1abc",
     "projects/p/topics/googs", "projects/p/topics/" + "a" * 256, "projects/p/topics/été",
     "projects/p/topics/a/b", "projects/p/subscriptions/abc"],
)  # fmt: skip
def test_illegal_topics(publisher: PublisherService, name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Invalid resource name"):
        publisher.create_topic(types.Topic(name=name))


def test_topics_come_and_go(publisher: PublisherService) -> None:
    assert publisher.get_topic(types.GetTopicRequest(topic=TOPIC)).name == TOPIC
    with pytest.raises(exceptions.AlreadyExists, match=TOPIC):
        publisher.create_topic(types.Topic(name=TOPIC))
    publisher.delete_topic(types.DeleteTopicRequest(topic=TOPIC))
    calls: list[Callable[[], Any]] = [
        lambda: publisher.get_topic(types.GetTopicRequest(topic=TOPIC)),
        lambda: publisher.delete_topic(types.DeleteTopicRequest(topic=TOPIC)),
        lambda: publish(publisher, "x"),
        lambda: publisher.list_topic_subscriptions(
            types.ListTopicSubscriptionsRequest(topic=TOPIC)
        ),
        lambda: publisher.update_topic(types.UpdateTopicRequest(topic=types.Topic(name=TOPIC))),
    ]
    for call in calls:
        with pytest.raises(exceptions.NotFound, match=r"resource=events"):
            call()


def test_pages_of_topics_of_one_project(publisher: PublisherService) -> None:
    for name in ("projects/p/topics/abc", "projects/p/topics/xyz", "projects/other/topics/abc"):
        publisher.create_topic(types.Topic(name=name))
    seen: list[str] = []
    token = ""
    for _ in range(3):
        request = types.ListTopicsRequest(project=PROJECT, page_size=1, page_token=token)
        answer = publisher.list_topics(request)
        seen += [topic.name.rpartition("/")[2] for topic in answer.topics]
        token = answer.next_page_token
    assert (seen, token) == (["abc", "events", "xyz"], "")


@pytest.mark.parametrize("token", ["x", "-1", "9" * 5000])
def test_page_tokens_that_nobody_gave(
    publisher: PublisherService, subscriber: SubscriberService, token: str
) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: publisher.list_topics(types.ListTopicsRequest(project=PROJECT, page_token=token)),
        lambda: publisher.list_topic_subscriptions(
            types.ListTopicSubscriptionsRequest(topic=TOPIC, page_token=token)
        ),
        lambda: subscriber.list_subscriptions(
            types.ListSubscriptionsRequest(project=PROJECT, page_token=token)
        ),
    ]
    for call in calls:
        with pytest.raises(exceptions.InvalidArgument, match="page_token"):
            call()


def test_only_labels_of_a_topic_change(publisher: PublisherService) -> None:
    wanted = types.Topic(name=TOPIC, labels={"a": "é"}, kms_key_name="k")
    changed = publisher.update_topic(
        types.UpdateTopicRequest(topic=wanted, update_mask=mask("labels"))
    )
    assert (dict(changed.labels), changed.kms_key_name) == ({"a": "é"}, "")
    for paths in ([], ["kms_key_name"], ["labels", "kms_key_name"]):
        request = types.UpdateTopicRequest(topic=wanted, update_mask=mask(*paths))
        with pytest.raises(exceptions.InvalidArgument, match="only labels"):
            publisher.update_topic(request)


# Publishing


def test_what_is_published_is_stamped(
    publisher: PublisherService, subscriber: SubscriberService
) -> None:
    ids = publish(publisher, "é😀", "", attributes={"k": "v"}, message_id="mine")
    received = pull(subscriber)
    assert [each.message.message_id for each in received] == ids
    assert "mine" not in ids
    assert (received[0].message.data.decode(), received[0].delivery_attempt) == ("é😀", 1)
    assert received[0].message.publish_time == datetime.fromtimestamp(1_800_000_000, UTC)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "1 to 1000 messages, not 0"),
        ([{"data": b"x"}] * 1001, "1 to 1000 messages, not 1001"),
        ([{"data": b"x"}, {}], "needs data or at least one attribute"),
        ([{"data": b"x", "attributes": {"googish": "1"}}], "do not begin with goog"),
        ([{"data": b"x", "ordering_key": "é" * 513}], "ordering key of 1026 bytes"),
    ],
)
def test_messages_that_are_refused(
    publisher: PublisherService,
    subscriber: SubscriberService,
    messages: list[dict[str, Any]],
    words: str,
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=words):
        publisher.publish(types.PublishRequest(topic=TOPIC, messages=messages))
    assert pull(subscriber) == []


# Subscriptions


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "projects/p/subscriptions/go"}, "Invalid resource name"),
        ({"name": "projects/p/topics/reader"}, "Invalid resource name"),
        ({"ack_deadline_seconds": 9}, "ack deadline of 9 s is not within 10 to 600 s"),
        ({"ack_deadline_seconds": 601}, "ack deadline of 601 s"),
        ({"ack_deadline_seconds": -1}, "ack deadline of -1 s"),
        ({"filter": "attributes.a ="}, "filter"),
        ({"retry_policy": {"minimum_backoff": timedelta(seconds=-1)}}, "minimum_backoff of -1 s"),
        ({"retry_policy": {"maximum_backoff": timedelta(seconds=601)}}, "maximum_backoff of 601 s"),
    ],
)
def test_subscriptions_that_are_refused(
    subscriber: SubscriberService, fields: dict[str, Any], words: str
) -> None:
    wanted = {"name": f"{SUBSCRIPTION}-2", "topic": TOPIC, **fields}
    with pytest.raises(exceptions.InvalidArgument, match=words):
        subscriber.create_subscription(types.Subscription(wanted))
    assert len(subscriber.list_subscriptions(
        types.ListSubscriptionsRequest(project=PROJECT)).subscriptions) == 1  # fmt: skip


def test_subscriptions_come_and_go(
    publisher: PublisherService, subscriber: SubscriberService
) -> None:
    with pytest.raises(exceptions.AlreadyExists, match=SUBSCRIPTION):
        subscriber.create_subscription(types.Subscription(name=SUBSCRIPTION, topic=TOPIC))
    with pytest.raises(exceptions.NotFound, match="resource=none"):
        subscriber.create_subscription(
            types.Subscription(name=f"{SUBSCRIPTION}-2", topic="projects/p/topics/none")
        )
    listed = types.ListTopicSubscriptionsRequest(topic=TOPIC)
    assert list(publisher.list_topic_subscriptions(listed).subscriptions) == [SUBSCRIPTION]
    subscriber.delete_subscription(types.DeleteSubscriptionRequest(subscription=SUBSCRIPTION))
    calls: list[Callable[[], Any]] = [
        lambda: subscriber.get_subscription(
            types.GetSubscriptionRequest(subscription=SUBSCRIPTION)
        ),
        lambda: subscriber.delete_subscription(
            types.DeleteSubscriptionRequest(subscription=SUBSCRIPTION)
        ),
        lambda: pull(subscriber),
        lambda: subscriber.acknowledge(types.AcknowledgeRequest(subscription=SUBSCRIPTION)),
        lambda: subscriber.seek(types.SeekRequest(subscription=SUBSCRIPTION)),
        lambda: publisher.detach_subscription(
            types.DetachSubscriptionRequest(subscription=SUBSCRIPTION)
        ),
        lambda: list(subscriber.streaming_pull(Calls(first()))),
    ]
    for call in calls:
        with pytest.raises(exceptions.NotFound, match="resource=reader"):
            call()


def test_a_subscription_outlives_its_topic(
    publisher: PublisherService, subscriber: SubscriberService
) -> None:
    publish(publisher, "kept")
    publisher.delete_topic(types.DeleteTopicRequest(topic=TOPIC))
    definition = subscriber.get_subscription(
        types.GetSubscriptionRequest(subscription=SUBSCRIPTION)
    )
    assert definition.topic == DELETED_TOPIC
    assert texts(pull(subscriber)) == ["kept"]
    publisher.create_topic(types.Topic(name=TOPIC))
    publish(publisher, "not for it")
    assert pull(subscriber) == []


@pytest.mark.parametrize(
    ("fields", "paths", "words"),
    [
        ({}, [], "name at least one field"),
        ({"topic": "t"}, ["topic"], "topic cannot be updated"),
        ({}, ["topic", "filter"], "filter, topic cannot be updated"),
        ({"labels": {"a": "b"}}, ["labels", "nothing"], "no field 'nothing'"),
        ({"ack_deadline_seconds": 5, "labels": {"a": "b"}},
         ["labels", "ack_deadline_seconds"], "ack deadline of 5 s"),
        ({"retry_policy": {"minimum_backoff": timedelta(seconds=700)}}, ["retry_policy"], "700 s"),
    ],
)  # fmt: skip
def test_updates_that_are_refused_change_nothing(
    subscriber: SubscriberService, fields: dict[str, Any], paths: list[str], words: str
) -> None:
    asked = types.GetSubscriptionRequest(subscription=SUBSCRIPTION)
    before = types.Subscription(subscriber.get_subscription(asked))
    wanted = types.Subscription({"name": SUBSCRIPTION, **fields})
    request = types.UpdateSubscriptionRequest(subscription=wanted, update_mask=mask(*paths))
    with pytest.raises(exceptions.InvalidArgument, match=words):
        subscriber.update_subscription(request)
    assert subscriber.get_subscription(asked) == before


def test_updates(subscriber: SubscriberService) -> None:
    wanted = types.Subscription(name=SUBSCRIPTION, ack_deadline_seconds=60, labels={"ä": "b"})
    request = types.UpdateSubscriptionRequest(
        subscription=wanted, update_mask=mask("ack_deadline_seconds", "labels")
    )
    subscriber.update_subscription(request)
    subscriber.modify_push_config(
        types.ModifyPushConfigRequest(
            subscription=SUBSCRIPTION, push_config={"push_endpoint": "http://host"}
        )
    )
    stored = subscriber.get_subscription(types.GetSubscriptionRequest(subscription=SUBSCRIPTION))
    assert (stored.ack_deadline_seconds, dict(stored.labels)) == (60, {"ä": "b"})
    assert (stored.push_config.push_endpoint, stored.topic) == ("http://host", TOPIC)


# Pulling


@pytest.mark.parametrize("most", [0, -1, -(2**31)])
def test_pulls_of_no_message(subscriber: SubscriberService, most: int) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="max_messages must be at least 1"):
        pull(subscriber, most)


def test_a_pull_takes_no_more_than_asked_nor_than_a_thousand(
    publisher: PublisherService, subscriber: SubscriberService
) -> None:
    publish(publisher, *map(str, range(600)))
    publish(publisher, *map(str, range(600)))
    assert len(pull(subscriber, 2)) == 2
    assert len(pull(subscriber, 2**31 - 1)) == 1000


def test_deadlines_of_one_message(
    publisher: PublisherService, subscriber: SubscriberService, clock: VirtualClock
) -> None:
    publish(publisher, "x")
    (got,) = pull(subscriber)

    def modify(seconds: int) -> None:
        subscriber.modify_ack_deadline(
            types.ModifyAckDeadlineRequest(
                subscription=SUBSCRIPTION,
                ack_ids=["unknown", got.ack_id],
                ack_deadline_seconds=seconds,
            )
        )

    for seconds in (-1, 601):
        with pytest.raises(exceptions.InvalidArgument, match=f"{seconds} s is not within 0 to 600"):
            modify(seconds)
    modify(600)
    clock.advance(599)
    assert pull(subscriber) == []
    clock.advance(1)
    (got,) = pull(subscriber)
    assert got.delivery_attempt == 2
    modify(0)
    (got,) = pull(subscriber)
    acknowledged = types.AcknowledgeRequest(
        subscription=SUBSCRIPTION, ack_ids=[got.ack_id, "", "é"]
    )
    subscriber.acknowledge(acknowledged)
    clock.advance(10_000)
    assert pull(subscriber) == []


def test_detached_subscriptions(publisher: PublisherService, subscriber: SubscriberService) -> None:
    publish(publisher, "dropped")
    publisher.detach_subscription(types.DetachSubscriptionRequest(subscription=SUBSCRIPTION))
    with pytest.raises(exceptions.FailedPrecondition, match=f"{SUBSCRIPTION} is detached"):
        pull(subscriber)
    publish(publisher, "for nobody")


def test_seeking(
    publisher: PublisherService, subscriber: SubscriberService, clock: VirtualClock
) -> None:
    def seek(**target: Any) -> None:
        subscriber.seek(types.SeekRequest(subscription=SUBSCRIPTION, **target))

    publish(publisher, "old")
    clock.advance(1)
    publish(publisher, "new")
    seek(time=datetime(1, 1, 1, tzinfo=UTC))
    seek(time=clock.now())
    assert texts(pull(subscriber)) == ["new"]
    with pytest.raises(exceptions.MethodNotImplemented, match="snapshots"):
        seek(snapshot="projects/p/snapshots/s")
    with pytest.raises(exceptions.InvalidArgument, match="seek needs a time"):
        seek()


# Streams


class Calls:
    """The requests of one stream; the peer stops listening after so many answers."""

    def __init__(self, *requests: types.StreamingPullRequest, answers: int = 1) -> None:
        self._requests = requests
        self._checks = itertools.count()
        self._answers = answers
        self.callbacks: list[Callable[[], None]] = []

    def __iter__(self) -> Iterator[types.StreamingPullRequest]:
        return iter(self._requests)

    def is_active(self) -> bool:
        return next(self._checks) < self._answers

    def on_end(self, callback: Callable[[], None]) -> bool:
        self.callbacks.append(callback)
        return True


def first(**fields: Any) -> types.StreamingPullRequest:
    return types.StreamingPullRequest(
        {"subscription": SUBSCRIPTION, "stream_ack_deadline_seconds": 10, **fields}
    )


def test_a_stream_without_a_request_just_ends(subscriber: SubscriberService) -> None:
    assert list(subscriber.streaming_pull(Calls())) == []


@pytest.mark.parametrize("seconds", [0, 9, 601, -1])
def test_the_deadline_of_a_stream(subscriber: SubscriberService, seconds: int) -> None:
    calls = Calls(first(stream_ack_deadline_seconds=seconds))
    words = f"ack deadline of {seconds} s is not within 10 to 600 s"
    with pytest.raises(exceptions.InvalidArgument, match=words):
        list(subscriber.streaming_pull(calls))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"modify_deadline_ack_ids": ["a", "b"], "modify_deadline_seconds": [5]},
            "2 ack ids, 1 deadlines",
        ),
        (
            {"modify_deadline_ack_ids": ["a"], "modify_deadline_seconds": [601]},
            "601 s is not within",
        ),
        ({"modify_deadline_ack_ids": ["a"], "modify_deadline_seconds": [-1]}, "-1 s is not within"),
        ({"stream_ack_deadline_seconds": 7}, "7 s is not within 10 to 600"),
    ],
)
def test_requests_that_end_a_stream(
    subscriber: SubscriberService, fields: dict[str, Any], words: str
) -> None:
    calls = Calls(first(), types.StreamingPullRequest(fields), answers=1000)
    with pytest.raises(exceptions.InvalidArgument, match=words):
        list(subscriber.streaming_pull(calls))


def test_a_first_request_may_acknowledge(
    publisher: PublisherService, subscriber: SubscriberService, clock: VirtualClock
) -> None:
    publish(publisher, "a", "b")
    one, two = pull(subscriber)
    request = first(
        ack_ids=[one.ack_id], modify_deadline_ack_ids=[two.ack_id], modify_deadline_seconds=[0]
    )
    assert list(subscriber.streaming_pull(Calls(request, answers=0))) == []
    clock.advance(600)
    assert texts(pull(subscriber)) == ["b"]


class Open(Calls):
    """A stream whose peer listens until it is over."""

    def __init__(self, request: types.StreamingPullRequest) -> None:
        super().__init__()
        self._request = request
        self.over = threading.Event()

    def __iter__(self) -> Iterator[types.StreamingPullRequest]:
        yield self._request
        self.over.wait()

    def is_active(self) -> bool:
        return True


@pytest.mark.timeout(60)
def test_a_stream_without_a_sensible_limit_has_none(
    publisher: PublisherService, subscriber: SubscriberService
) -> None:
    publish(publisher, "a", "b")
    calls = Open(first(max_outstanding_messages=-1, max_outstanding_bytes=-1))
    try:
        pulled = next(subscriber.streaming_pull(calls))
    finally:
        calls.over.set()
    assert texts(pulled.received_messages) == ["a", "b"]


@pytest.mark.parametrize(
    "limit", [{"max_outstanding_messages": 1}, {"max_outstanding_bytes": 1}], ids=str
)
def test_a_stream_sends_no_more_than_may_be_outstanding(
    publisher: PublisherService, subscriber: SubscriberService, limit: dict[str, int]
) -> None:
    publish(publisher, "first", "second")
    calls = Open(first(**limit))
    answers = subscriber.streaming_pull(calls)
    (one,) = next(answers).received_messages
    assert texts([one]) == ["first"]
    later: list[str] = []

    def follow() -> None:
        later.extend(text for answer in answers for text in texts(answer.received_messages))

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        try:
            assert texts(pull(subscriber)) == ["second"], "the stream did not take it"
        finally:
            calls.over.set()
    following.result()
    assert later == []


def test_a_stream_says_whether_order_holds(broker: Broker, publisher: PublisherService) -> None:
    subscriber = SubscriberService(broker)
    subscriber.create_subscription(
        types.Subscription(name=SUBSCRIPTION, topic=TOPIC, enable_message_ordering=True)
    )
    publish(publisher, "1", "2", ordering_key="é" * 512)

    calls = Open(first())
    answers = subscriber.streaming_pull(calls)
    answer = next(answers)
    calls.over.set()
    assert texts(answer.received_messages) == ["1", "2"]
    assert answer.subscription_properties.message_ordering_enabled
    assert list(answers) == [], "the peer has nothing more to say"
