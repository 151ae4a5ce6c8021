"""The one door to the environment: where saxflow runs and what the operator decided.

Values come from `SAXFLOW_*` variables set by the deployment (functions) or by `saxflow local env`
(a laptop); a manifest can never set them. Endpoints are here too, because they are the only thing
that differs between Google's cloud and the embedded one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from saxflow.errors import ConfigurationError


@dataclass(frozen=True)
class Endpoints:
    """Roots of the services; None means Google's own.

    Args:
        storage: `STORAGE_EMULATOR_HOST`, an http:// root.
        pubsub: `PUBSUB_EMULATOR_HOST`, host:port of a plaintext gRPC server.
        grpc: `SAXFLOW_GRPC_ENDPOINT`, host:port serving Workflows, Executions, Batch and TPU.
        rest: `SAXFLOW_REST_ENDPOINT`, an http:// root serving the same over REST, and Pub/Sub.
    """

    storage: str | None = None
    pubsub: str | None = None
    grpc: str | None = None
    rest: str | None = None

    def api_root(self, service: str) -> str:
        """Return the REST root of `storage`, `pubsub`, `batch` or `tpu`, without a slash at the end."""
        local = self.storage if service == "storage" else self.rest
        return (local or f"https://{service}.googleapis.com").rstrip("/")


@dataclass(frozen=True)
class Settings:
    """What the operator decided for one installation.

    Args:
        project, location: Google Cloud project and region.
        manifests_bucket, control_bucket, models_bucket, cells_bucket: the four buckets, split by
            who may write (design.md section 1).
        events_topic: id of the Pub/Sub topic.
        deploy_workflow, teardown_workflow: ids of the two Workflows.
        commit_url, publish_url: URLs of functions/commit_checkpoint and functions/publish_model.
        generate_url: URL of functions/generate, shown to people; empty when not deployed.
        convert_image, admin_image, model_server_image: container images, pinned by digest.
        batch_account, tpu_account: service account e-mails; empty uses the project's default.
        network, subnetwork: full resource names; empty uses the default network.
        poll_seconds: pause between two looks at a Job, a QueuedResource or a cell.
        progress_seconds: least time between two conversion.progressed events.
        lease_seconds: how long a lease in the head lasts without renewal.
        state_stale_seconds: a worker state object older than this counts as absent.
        heartbeat_seconds: how often a worker overwrites its state object.
        server_restart_seconds: pause before a dead model server is started again; the admin server
            must have pruned it (25 s) or it never gets its model back.
        deadline_scale: multiplies every deadline; the embedded cloud uses a small one.
        chip_hour_usd: list price of one v5e chip for an hour.
        allow_file_sources: `file://` weights are legal (embedded cloud only).
        models_location: region of the models bucket, which the TPU zones must share.
    """

    project: str
    location: str
    manifests_bucket: str
    control_bucket: str
    models_bucket: str
    cells_bucket: str
    events_topic: str
    deploy_workflow: str
    teardown_workflow: str
    commit_url: str
    publish_url: str
    generate_url: str
    convert_image: str
    admin_image: str
    model_server_image: str
    batch_account: str
    tpu_account: str
    network: str
    subnetwork: str
    poll_seconds: float
    progress_seconds: float
    lease_seconds: float
    state_stale_seconds: float
    heartbeat_seconds: float
    server_restart_seconds: float
    deadline_scale: float
    chip_hour_usd: float
    allow_file_sources: bool
    models_location: str
    endpoints: Endpoints

    @property
    def topic_path(self) -> str:
        """Full resource name of the events topic."""
        return f"projects/{self.project}/topics/{self.events_topic}"

    def workflow_path(self, workflow: str) -> str:
        """Full resource name of a Workflow of this installation."""
        return f"projects/{self.project}/locations/{self.location}/workflows/{workflow}"


def load_endpoints(environ: Mapping[str, str] | None = None) -> Endpoints:
    """Read the endpoint variables; absent ones mean Google's own services."""
    env = os.environ if environ is None else environ
    return Endpoints(
        storage=env.get("STORAGE_EMULATOR_HOST") or None,
        pubsub=env.get("PUBSUB_EMULATOR_HOST") or None,
        grpc=env.get("SAXFLOW_GRPC_ENDPOINT") or None,
        rest=env.get("SAXFLOW_REST_ENDPOINT") or None,
    )


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read every setting.

    Raises:
        ConfigurationError: a required variable is missing or a number does not parse; the message
            names all missing variables at once.
    """
    env = os.environ if environ is None else environ
    required = (
        "SAXFLOW_PROJECT",
        "SAXFLOW_MANIFESTS_BUCKET",
        "SAXFLOW_CONTROL_BUCKET",
        "SAXFLOW_MODELS_BUCKET",
        "SAXFLOW_CELLS_BUCKET",
    )
    missing = [name for name in required if not env.get(name)]
    if missing:
        raise ConfigurationError(
            f'{", ".join(missing)} not set; on a laptop run `eval "$(saxflow local env)"`,'
            " in the cloud set them on the function"
        )
    location = env.get("SAXFLOW_LOCATION") or "us-central1"
    return Settings(
        project=env["SAXFLOW_PROJECT"],
        location=location,
        manifests_bucket=env["SAXFLOW_MANIFESTS_BUCKET"],
        control_bucket=env["SAXFLOW_CONTROL_BUCKET"],
        models_bucket=env["SAXFLOW_MODELS_BUCKET"],
        cells_bucket=env["SAXFLOW_CELLS_BUCKET"],
        events_topic=env.get("SAXFLOW_EVENTS_TOPIC") or "saxflow-events",
        deploy_workflow=env.get("SAXFLOW_DEPLOY_WORKFLOW") or "deploy-model",
        teardown_workflow=env.get("SAXFLOW_TEARDOWN_WORKFLOW") or "teardown-model",
        commit_url=env.get("SAXFLOW_COMMIT_URL", ""),
        publish_url=env.get("SAXFLOW_PUBLISH_URL", ""),
        generate_url=env.get("SAXFLOW_GENERATE", ""),
        convert_image=env.get("SAXFLOW_CONVERT_IMAGE", ""),
        admin_image=env.get("SAXFLOW_ADMIN_IMAGE", ""),
        model_server_image=env.get("SAXFLOW_MODEL_SERVER_IMAGE", ""),
        batch_account=env.get("SAXFLOW_BATCH_ACCOUNT", ""),
        tpu_account=env.get("SAXFLOW_TPU_ACCOUNT", ""),
        network=env.get("SAXFLOW_NETWORK", ""),
        subnetwork=env.get("SAXFLOW_SUBNETWORK", ""),
        poll_seconds=_number(env, "SAXFLOW_POLL_SECONDS", 15.0),
        progress_seconds=_number(env, "SAXFLOW_PROGRESS_SECONDS", 30.0),
        lease_seconds=_number(env, "SAXFLOW_LEASE_SECONDS", 600.0),
        state_stale_seconds=_number(env, "SAXFLOW_STATE_STALE_SECONDS", 120.0),
        heartbeat_seconds=_number(env, "SAXFLOW_HEARTBEAT_SECONDS", 25.0),
        server_restart_seconds=_number(env, "SAXFLOW_SERVER_RESTART_SECONDS", 35.0),
        deadline_scale=_number(env, "SAXFLOW_DEADLINE_SCALE", 1.0),
        chip_hour_usd=_number(env, "SAXFLOW_CHIP_HOUR_USD", 1.2),
        allow_file_sources=env.get("SAXFLOW_ALLOW_FILE_SOURCES", "") == "1",
        models_location=env.get("SAXFLOW_MODELS_LOCATION") or location,
        endpoints=load_endpoints(env),
    )


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise ConfigurationError(f"{name} is {text!r}; it must be a number from 0")
    return number


@dataclass(frozen=True)
class ServingSettings:
    """What the operator decided for functions/generate.

    Args:
        api_keys: bearer keys that open the door; none leaves it to Cloud Run's IAM, or to loopback.
        on_cloud_run: `K_SERVICE` is set, so that Cloud Run's IAM stands before us.
        host, port: where to listen; Cloud Run sets `PORT`.
        max_active: requests that may be with model servers at once.
        max_waiting: requests that may wait for that; more are refused with 429.
        request_seconds: longest time for one request, waiting included.
        patience_seconds: how long to try again while servers are gone, busy or loading.
        head_seconds: how long a deployment's head is believed without a look.
        drain_seconds: how long requests in flight may go on after SIGTERM.
    """

    api_keys: tuple[str, ...]
    on_cloud_run: bool
    host: str
    port: int
    max_active: int
    max_waiting: int
    request_seconds: float
    patience_seconds: float
    head_seconds: float
    drain_seconds: float


def load_serving_settings(environ: Mapping[str, str] | None = None) -> ServingSettings:
    """Read the settings of functions/generate.

    Raises:
        ConfigurationError: a number does not parse.
    """
    env = os.environ if environ is None else environ
    on_cloud_run = bool(env.get("K_SERVICE"))
    keys = (key.strip() for key in env.get("SAXFLOW_API_KEYS", "").split(","))
    return ServingSettings(
        api_keys=tuple(key for key in keys if key),
        on_cloud_run=on_cloud_run,
        host=env.get("SAXFLOW_GENERATE_HOST") or ("0.0.0.0" if on_cloud_run else "127.0.0.1"),  # noqa: S104
        port=int(_number(env, "PORT", 8080)),
        max_active=int(_number(env, "SAXFLOW_MAX_ACTIVE", 128)),
        max_waiting=int(_number(env, "SAXFLOW_MAX_WAITING", 256)),
        request_seconds=_number(env, "SAXFLOW_REQUEST_SECONDS", 600),
        patience_seconds=_number(env, "SAXFLOW_PATIENCE_SECONDS", 5),
        head_seconds=_number(env, "SAXFLOW_HEAD_SECONDS", 5),
        drain_seconds=_number(env, "SAXFLOW_DRAIN_SECONDS", 9),
    )
