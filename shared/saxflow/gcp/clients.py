"""Build Google's own clients, aimed at Google or at local endpoints.

Batch, TPU and Workflows clients know no emulator variable, so the transport is set here; nothing
above this package knows which cloud it speaks to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from saxflow.settings import Endpoints, load_endpoints

if TYPE_CHECKING:
    import grpc
    from google.cloud import batch_v1, pubsub_v1, storage, tpu_v2, workflows_v1
    from google.cloud.workflows import executions_v1


def storage_client(
    project: str | None = None, endpoints: Endpoints | None = None
) -> storage.Client:
    """Return a Cloud Storage client."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    root = (endpoints or load_endpoints()).storage
    if root is None:
        return storage.Client(project=project)
    return storage.Client(
        project=project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": root},
    )


def publisher_client(endpoints: Endpoints | None = None) -> pubsub_v1.PublisherClient:
    """Return a Pub/Sub publisher that keeps the order within a key."""
    from google.cloud import pubsub_v1
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
    target = (endpoints or load_endpoints()).pubsub
    if target is None:
        return pubsub_v1.PublisherClient(publisher_options=options)
    transport = PublisherGrpcTransport(channel=_plaintext(target))
    return pubsub_v1.PublisherClient(publisher_options=options, transport=transport)


def subscriber_client(endpoints: Endpoints | None = None) -> pubsub_v1.SubscriberClient:
    """Return a Pub/Sub subscriber."""
    from google.cloud import pubsub_v1
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    target = (endpoints or load_endpoints()).pubsub
    if target is None:
        return pubsub_v1.SubscriberClient()
    transport = SubscriberGrpcTransport(channel=_plaintext(target))
    return pubsub_v1.SubscriberClient(transport=transport)


def batch_client(endpoints: Endpoints | None = None) -> batch_v1.BatchServiceClient:
    """Return a Batch client."""
    from google.cloud import batch_v1
    from google.cloud.batch_v1.services.batch_service.transports import BatchServiceGrpcTransport

    target = (endpoints or load_endpoints()).grpc
    if target is None:
        return batch_v1.BatchServiceClient()
    return batch_v1.BatchServiceClient(
        transport=BatchServiceGrpcTransport(channel=_plaintext(target))
    )


def tpu_client(endpoints: Endpoints | None = None) -> tpu_v2.TpuClient:
    """Return a TPU client."""
    from google.cloud import tpu_v2
    from google.cloud.tpu_v2.services.tpu.transports import TpuGrpcTransport

    target = (endpoints or load_endpoints()).grpc
    if target is None:
        return tpu_v2.TpuClient()
    return tpu_v2.TpuClient(transport=TpuGrpcTransport(channel=_plaintext(target)))


def workflows_client(endpoints: Endpoints | None = None) -> workflows_v1.WorkflowsClient:
    """Return a client for Workflow definitions."""
    from google.cloud import workflows_v1
    from google.cloud.workflows_v1.services.workflows.transports import WorkflowsGrpcTransport

    target = (endpoints or load_endpoints()).grpc
    if target is None:
        return workflows_v1.WorkflowsClient()
    return workflows_v1.WorkflowsClient(
        transport=WorkflowsGrpcTransport(channel=_plaintext(target))
    )


def executions_client(endpoints: Endpoints | None = None) -> executions_v1.ExecutionsClient:
    """Return a client for Executions."""
    from google.cloud.workflows import executions_v1
    from google.cloud.workflows.executions_v1.services.executions.transports import (
        ExecutionsGrpcTransport,
    )

    target = (endpoints or load_endpoints()).grpc
    if target is None:
        return executions_v1.ExecutionsClient()
    return executions_v1.ExecutionsClient(
        transport=ExecutionsGrpcTransport(channel=_plaintext(target))
    )


def _plaintext(target: str) -> grpc.Channel:
    import grpc

    return grpc.insecure_channel(target)
