"""google-cloud-pubsub against the embedded Pub/Sub."""

from __future__ import annotations

import base64
import json
import queue
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2
from google.pubsub_v1 import PublisherClient as GapicPublisher
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from saxflow.local.clock import VirtualClock
from saxflow.local.faults import Faults
from saxflow.local.http import HttpServer
from saxflow.local.pubsub.broker import Broker
from saxflow.local.pubsub.service import PublisherService, SubscriberService
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import GrpcServer, Hosted, RestApi
from saxflow.local.rpc.table import PUBLISHER, SUBSCRIBER

TOPIC = "projects/p/topics/events"
SUBSCRIPTION = "projects/p/subscriptions/reader"


class Cloud:
    def __init__(self) -> None:
        self.clock = VirtualClock(1_800_000_000.0)
        self.faults = Faults()
        self.broker = Broker(self.clock)
        hosted = [
            Hosted(PUBLISHER, PublisherService(self.broker)),
            Hosted(SUBSCRIBER, SubscriberService(self.broker)),
        ]
        operations = Operations()
        self.grpc = GrpcServer(hosted, faults=self.faults, operations=operations)
        self.http = HttpServer(RestApi(hosted, faults=self.faults, operations=operations))
        self.grpc.start()
        self.http.start()
        self.channel = grpc.insecure_channel(self.grpc.target)
        self.publisher = pubsub_v1.PublisherClient(
            transport=PublisherGrpcTransport(channel=self.channel),
            publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True),
        )
        self.subscriber = pubsub_v1.SubscriberClient(
            transport=SubscriberGrpcTransport(channel=self.channel)
        )

    def close(self) -> None:
        self.publisher.stop()
        self.channel.close()
        self.http.stop()
        self.grpc.stop()

    def subscribe(self, **fields: Any) -> str:
        request = {"name": SUBSCRIPTION, "topic": TOPIC, **fields}
        return self.subscriber.create_subscription(request=request).name

    def publish(self, *texts: str, key: str = "", **attributes: str) -> list[str]:
        futures = [
            self.publisher.publish(TOPIC, text.encode(), ordering_key=key, **attributes)
            for text in texts
        ]
        return [future.result(timeout=60) for future in futures]

    def pull(self, most: int = 10, subscription: str = SUBSCRIPTION) -> list[Any]:
        request = {"subscription": subscription, "max_messages": most, "return_immediately": True}
        with pytest.warns(DeprecationWarning, match="return_immediately"):
            return list(self.subscriber.pull(request=request).received_messages)

    def texts(self, most: int = 10) -> list[str]:
        return [each.message.data.decode() for each in self.pull(most)]

    def rest(self, path: str, body: Any, method: str = "POST") -> Any:
        data = json.dumps(body).encode()
        request = Request(f"{self.http.url}/v1/{path}", data, method=method)
        with urlopen(request, timeout=60) as reply:
            return json.load(reply)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    cloud.publisher.create_topic(name=TOPIC)
    yield cloud
    cloud.close()


def test_topics(cloud: Cloud) -> None:
    with pytest.raises(exceptions.AlreadyExists):
        cloud.publisher.create_topic(name=TOPIC)
    cloud.publisher.create_topic(name="projects/p/topics/zzz")
    names = [each.name for each in cloud.publisher.list_topics(project="projects/p")]
    assert names == [TOPIC, "projects/p/topics/zzz"]
    assert cloud.publisher.get_topic(topic=TOPIC).name == TOPIC
    cloud.publisher.delete_topic(topic=TOPIC)
    with pytest.raises(exceptions.NotFound):
        cloud.publisher.get_topic(topic=TOPIC)
    with pytest.raises(exceptions.NotFound):
        cloud.publish("x")


@pytest.mark.parametrize("name", ["ab", "9abc", "google-x", "a b c"])
def test_illegal_names(cloud: Cloud, name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        cloud.publisher.create_topic(name=f"projects/p/topics/{name}")


def test_subscriptions(cloud: Cloud) -> None:
    cloud.subscribe(ack_deadline_seconds=30)
    assert cloud.subscriber.get_subscription(subscription=SUBSCRIPTION).ack_deadline_seconds == 30
    with pytest.raises(exceptions.AlreadyExists):
        cloud.subscribe()
    with pytest.raises(exceptions.NotFound):
        cloud.subscribe(name=SUBSCRIPTION + "2", topic=TOPIC + "-absent")
    with pytest.raises(exceptions.InvalidArgument):
        cloud.subscribe(name=SUBSCRIPTION + "2", ack_deadline_seconds=5)
    listed = [each.name for each in cloud.subscriber.list_subscriptions(project="projects/p")]
    assert listed == [SUBSCRIPTION]
    assert list(cloud.publisher.list_topic_subscriptions(topic=TOPIC)) == [SUBSCRIPTION]
    cloud.publisher.delete_topic(topic=TOPIC)
    subscription = cloud.subscriber.get_subscription(subscription=SUBSCRIPTION)
    assert subscription.topic == "_deleted-topic_"
    cloud.subscriber.delete_subscription(subscription=SUBSCRIPTION)
    with pytest.raises(exceptions.NotFound):
        cloud.pull()


def test_update_of_what_can_change(cloud: Cloud) -> None:
    cloud.subscribe()
    wanted = pubsub_v1.types.Subscription(
        name=SUBSCRIPTION, ack_deadline_seconds=60, filter="attributes:a"
    )
    mask = field_mask_pb2.FieldMask(paths=["ack_deadline_seconds"])
    updated = cloud.subscriber.update_subscription(subscription=wanted, update_mask=mask)
    assert (updated.ack_deadline_seconds, updated.filter) == (60, "")
    for paths in (["filter"], [], ["nonsense"]):
        mask = field_mask_pb2.FieldMask(paths=paths)
        with pytest.raises(exceptions.InvalidArgument):
            cloud.subscriber.update_subscription(subscription=wanted, update_mask=mask)


def test_publish_pull_acknowledge(cloud: Cloud) -> None:
    cloud.subscribe()
    ids = cloud.publish("a", "b", color="red")
    received = cloud.pull()
    assert [each.message.message_id for each in received] == ids
    assert dict(received[0].message.attributes) == {"color": "red"}
    assert received[0].message.publish_time.timestamp() == cloud.clock.time()
    assert cloud.pull() == []
    cloud.subscriber.acknowledge(
        subscription=SUBSCRIPTION, ack_ids=[each.ack_id for each in received]
    )
    cloud.clock.advance(3600)
    assert cloud.pull() == []


def test_messages_before_the_subscription_are_lost(cloud: Cloud) -> None:
    cloud.publish("early")
    cloud.subscribe()
    cloud.publish("late")
    assert cloud.texts() == ["late"]


def test_empty_and_illegal_messages(cloud: Cloud) -> None:
    client = GapicPublisher(transport=PublisherGrpcTransport(channel=cloud.channel))
    for message in ({}, {"attributes": {"goog-x": "1"}}, {"attributes": {"k": "v" * 1025}}):
        with pytest.raises(exceptions.InvalidArgument):
            client.publish(topic=TOPIC, messages=[message])


def test_deadlines_pass_and_can_be_moved(cloud: Cloud) -> None:
    cloud.subscribe(ack_deadline_seconds=10)
    cloud.publish("a")
    (first,) = cloud.pull()
    cloud.clock.advance(9)
    cloud.subscriber.modify_ack_deadline(
        subscription=SUBSCRIPTION, ack_ids=[first.ack_id], ack_deadline_seconds=20
    )
    cloud.clock.advance(15)
    assert cloud.pull() == []
    cloud.clock.advance(6)
    (second,) = cloud.pull()
    assert (second.message.message_id, second.delivery_attempt) == (first.message.message_id, 2)
    cloud.subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[first.ack_id])
    cloud.subscriber.modify_ack_deadline(
        subscription=SUBSCRIPTION, ack_ids=[second.ack_id], ack_deadline_seconds=0
    )
    assert cloud.texts() == ["a"]


def test_retry_policy_delays_redelivery(cloud: Cloud) -> None:
    policy = pubsub_v1.types.RetryPolicy(
        minimum_backoff=duration_pb2.Duration(seconds=10),
        maximum_backoff=duration_pb2.Duration(seconds=15),
    )
    cloud.subscribe(retry_policy=policy)
    cloud.publish("a")
    for backoff in (10, 15, 15):
        (held,) = cloud.pull()
        cloud.subscriber.modify_ack_deadline(
            subscription=SUBSCRIPTION, ack_ids=[held.ack_id], ack_deadline_seconds=0
        )
        assert cloud.pull() == []
        cloud.clock.advance(backoff)


def test_order_holds_within_a_key(cloud: Cloud) -> None:
    cloud.subscribe(enable_message_ordering=True)
    cloud.publish("a1", "a2", "a3", key="a")
    cloud.publish("b1", key="b")
    held = cloud.pull(2)
    assert [each.message.data for each in held] == [b"a1", b"a2"]
    assert cloud.texts() == ["b1"], "key a stays with who holds its first messages"
    cloud.subscriber.modify_ack_deadline(
        subscription=SUBSCRIPTION, ack_ids=[held[0].ack_id], ack_deadline_seconds=0
    )
    assert cloud.texts() == ["a1", "a2", "a3"], "a nack brings back what came after"


def test_acknowledged_predecessors_stay_acknowledged(cloud: Cloud) -> None:
    cloud.subscribe(enable_message_ordering=True)
    cloud.publish("1", "2", "3", key="k")
    held = cloud.pull()
    cloud.subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[held[0].ack_id])
    cloud.clock.advance(11)
    assert cloud.texts() == ["2", "3"]


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ('attributes.stage = "sax"', ["1"]),
        ('attributes.stage != "sax"', ["2", "3"]),
        ('hasPrefix(attributes.stage, "s")', ["1"]),
        ("attributes:stage", ["1", "2"]),
        ("NOT attributes:stage", ["3"]),
        ('attributes.ce-type = "t" AND attributes:stage', ["1"]),
        ('attributes.stage = "tpu" OR (attributes:ce-type AND NOT attributes:stage)', ["2", "3"]),
    ],
)
def test_filters(cloud: Cloud, text: str, passing: list[str]) -> None:
    cloud.subscribe(filter=text)
    cloud.publish("1", **{"stage": "sax", "ce-type": "t"})
    cloud.publish("2", stage="tpu")
    cloud.publish("3", **{"ce-type": "t"})
    assert cloud.texts() == passing


@pytest.mark.parametrize(
    "text",
    ["attributes", "stage = 1", 'attributes.a = "x" AND', "attributes:a OR attributes:b AND attributes:c",
     'data = "x"', 'attributes.a = "' + "x" * 300 + '"', "attributes.a = x", "(attributes:a", "attributes:a ~"],
)  # fmt: skip
def test_bad_filters_are_refused(cloud: Cloud, text: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        cloud.subscribe(filter=text)


def test_seek_to_now_forgets_the_past(cloud: Cloud) -> None:
    cloud.subscribe()
    cloud.publish("old")
    cloud.clock.advance(5)
    now = timestamp_pb2.Timestamp()
    now.FromDatetime(cloud.clock.now().replace(tzinfo=None))
    cloud.subscriber.seek(request={"subscription": SUBSCRIPTION, "time": now})
    cloud.publish("new")
    assert cloud.texts() == ["new"]


def test_detached_subscriptions_cannot_be_pulled(cloud: Cloud) -> None:
    cloud.subscribe()
    cloud.publisher.detach_subscription(request={"subscription": SUBSCRIPTION})
    with pytest.raises(exceptions.FailedPrecondition):
        cloud.pull()


def test_pull_waits_for_a_message(cloud: Cloud) -> None:
    cloud.subscribe()
    timer = threading.Timer(0.2, cloud.publish, ["late"])
    timer.start()
    received: list[Any] = []
    while not received:  # one call waits for some seconds only
        received += cloud.subscriber.pull(
            subscription=SUBSCRIPTION, max_messages=1
        ).received_messages
    timer.join()
    assert [each.message.data for each in received] == [b"late"]


# Streaming pull


def collect(cloud: Cloud, wanted: int, handle: Any = None, **options: Any) -> list[str]:
    """Return the texts of the first messages that a streaming subscriber gets."""
    got: queue.Queue[str] = queue.Queue()

    def callback(message: Any) -> None:
        got.put(message.data.decode())
        if handle is None or handle(message):
            message.ack()

    future = cloud.subscriber.subscribe(SUBSCRIPTION, callback, **options)
    try:
        return [got.get(timeout=60) for _ in range(wanted)]
    finally:
        future.cancel()
        future.result(timeout=60)


def test_streaming_pull_delivers_within_100_ms(cloud: Cloud) -> None:
    cloud.subscribe()
    latencies: list[float] = []
    arrived = threading.Event()

    def callback(message: Any) -> None:
        latencies.append(time.perf_counter() - float(message.data))
        message.ack()
        arrived.set()

    future = cloud.subscriber.subscribe(SUBSCRIPTION, callback)
    for _ in range(50):
        arrived.clear()
        cloud.publish(str(time.perf_counter()))
        assert arrived.wait(60)
    future.cancel()
    future.result(timeout=60)
    assert statistics.median(latencies) < 0.1


def test_streaming_pull_keeps_order_after_a_nack(cloud: Cloud) -> None:
    cloud.subscribe(enable_message_ordering=True)
    cloud.publish(*(str(n) for n in range(10)), key="k")
    refused: list[str] = []

    def handle(message: Any) -> bool:
        if message.data == b"3" and not refused:
            refused.append("3")
            message.nack()
            return False
        return True

    received = collect(cloud, 11, handle)
    assert received[: received.index("3") + 1] == ["0", "1", "2", "3"]
    distinct = list(dict.fromkeys(received))
    assert distinct == sorted(distinct, key=int)


def test_two_streams_share_the_work(cloud: Cloud) -> None:
    cloud.subscribe()
    got: queue.Queue[str] = queue.Queue()

    def callback(message: Any) -> None:
        got.put(message.data.decode())
        message.ack()

    futures = [cloud.subscriber.subscribe(SUBSCRIPTION, callback) for _ in range(2)]
    cloud.publish(*(str(n) for n in range(40)))
    received = sorted((got.get(timeout=60) for _ in range(40)), key=int)
    assert received == [str(n) for n in range(40)]
    for future in futures:
        future.cancel()
        future.result(timeout=60)


def test_streams_obey_flow_control(cloud: Cloud) -> None:
    cloud.subscribe()
    cloud.publish(*"abcdefgh")
    control = pubsub_v1.types.FlowControl(max_messages=2)
    assert sorted(collect(cloud, 8, flow_control=control)) == list("abcdefgh")


def test_streams_end_when_the_subscription_goes(cloud: Cloud) -> None:
    cloud.subscribe()
    future = cloud.subscriber.subscribe(SUBSCRIPTION, lambda message: message.ack())
    cloud.subscriber.delete_subscription(subscription=SUBSCRIPTION)
    with pytest.raises(exceptions.NotFound):
        future.result(timeout=60)


# REST, as a workflow calls it


def test_rest_publish_pull_acknowledge(cloud: Cloud) -> None:
    cloud.rest("projects/p/subscriptions/reader", {"topic": TOPIC}, "PUT")
    message = {
        "data": base64.b64encode(b"hello").decode(),
        "attributes": {"ce-type": "t"},
        "orderingKey": "k",
    }
    assert len(cloud.rest("projects/p/topics/events:publish", {"messages": [message]})["messageIds"]) == 1  # fmt: skip
    (received,) = cloud.rest("projects/p/subscriptions/reader:pull", {"maxMessages": 5})[
        "receivedMessages"
    ]
    assert received["message"]["attributes"] == {"ce-type": "t"}
    assert base64.b64decode(received["message"]["data"]) == b"hello"
    acknowledged = {"ackIds": [received["ackId"]]}
    assert cloud.rest("projects/p/subscriptions/reader:acknowledge", acknowledged) == {}


def test_faults(cloud: Cloud) -> None:
    cloud.subscribe()
    cloud.faults.arm("pubsub", "publish", "return-503")
    assert len(cloud.publish("a")) == 1, "the publisher repeats it by itself"
    cloud.faults.arm("pubsub", "acknowledge", "execute-and-timeout")
    assert collect(cloud, 1) == ["a"]
    assert len(cloud.broker.subscription(SUBSCRIPTION).backlog) == 0
