"""Compile a manifest into a plan: everything an Execution will do, decided beforehand.

Pure but for the bundled scripts. The parts are stored first, because the TPU's metadata pins two
of them by object generation and digest; `core.json` comes last and names all of them.

Source: design.md section 4.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saxflow import bundled, catalog, layout, names
from saxflow.errors import ConfigurationError, InputError
from saxflow.manifest import API_VERSION, Manifest, seconds_of
from saxflow.plan import bodies, job, tpu
from saxflow.plan.decide import Decision, decide
from saxflow.plan.facts import WeightFacts
from saxflow.settings import Settings
from saxflow.weights import fingerprint

MAX_PART_BYTES = 64 * 1024
COMPRESSOR = "none"
COMPUTE_DTYPE = "bfloat16"
ADMIN_PORT = 10000
SERVER_PORT = 10001
STARTUP_PART = "startup.sh"
SERVABLE_PART = "servable.json"
_STAGE_SECONDS = {
    "conversion": 7200,
    "sax": 1800,
    "load": 1800,
    "probe": 600,
    "teardown": 900,
    "active_without_checkpoint": 900,
}
_TASK_SECONDS = 5400
_REQUIRED_SETTINGS = (
    "convert_image",
    "admin_image",
    "model_server_image",
    "commit_url",
    "publish_url",
)


@dataclass(frozen=True)
class Plan:
    """A compiled plan, not yet stored.

    Args:
        id: `sf-<name>-<generation in base 36>-a<attempt>`: Job, QueuedResource, Node.
        core: core.json without its `parts`.
        parts: name -> bytes of what is stored before tpu.json: job.json, publish.json,
            servable.json, startup.sh.
        decision: what was decided, with prices and memory.
    """

    id: str
    core: dict[str, Any]
    parts: dict[str, bytes]
    decision: Decision
    _manifest: Manifest
    _settings: Settings
    _labels: dict[str, str]

    def tpu_part(self, *, startup_generation: str, servable_generation: str) -> bytes:
        """Return tpu.json: {"bodies": {zone: QueuedResource}}, pinned to two stored parts.

        Raises:
            ConfigurationError: a body is no message of the API.
        InputError: the part is too large.
        """
        metadata = {
            "startup-script": bundled.text("tpu/bootstrap.sh"),
            "saxflow-config": json.dumps(
                self._node_config(startup_generation, servable_generation), sort_keys=True
            ),
            "enable-guest-attributes": "TRUE",
        }
        found = {
            zone: tpu.queued_resource_body(
                self._manifest,
                self._settings,
                identifier=self.id,
                zone=zone,
                chosen=self.decision.slice,
                wait_seconds=self._settings.deadline_scale
                * seconds_of(self._manifest.tpu.valid_until),
                metadata=metadata,
                labels=self._labels,
            )
            for zone in self.decision.zones
        }
        for body in found.values():
            bodies.check_queued_resource(body)
        return _part("tpu.json", _json({"bodies": found}))

    def describe(self) -> dict[str, Any]:
        """Return what `saxflow plan` shows: ids, decisions, memory, cost and every body."""
        chosen = self.decision
        return {
            "id": self.id,
            "core": self.core,
            "hbm_bytes_per_chip": chosen.budget.rows(),
            "hourly_usd": chosen.hourly_usd,
            "notes": list(chosen.notes),
            "job": json.loads(self.parts["job.json"]),
            "tpu": json.loads(self.tpu_part(startup_generation="0", servable_generation="0")),
            "publish": json.loads(self.parts["publish.json"]),
            "servable": json.loads(self.parts[SERVABLE_PART]),
        }

    def _node_config(self, startup_generation: str, servable_generation: str) -> dict[str, Any]:
        settings, cell = self._settings, self.core["cell"]
        generations = {STARTUP_PART: startup_generation, SERVABLE_PART: servable_generation}
        pinned = {
            part.partition(".")[0]: {
                "uri": f"gs://{settings.control_bucket}/{self.core['control']['prefix']}{part}",
                "generation": generation,
                "sha256": hashlib.sha256(self.parts[part]).hexdigest(),
            }
            for part, generation in generations.items()
        }
        return pinned | {
            "deployment": self.core["name"],
            "id": self.id,
            "storage_root": self.core["apis"]["storage"],
            "cell": cell["cell"],
            "cells_bucket": cell["bucket"],
            "cell_prefix": cell["root"],
            "sax_root": cell["sax_root"],
            "fs_root": cell["fs_root"],
            "images": {
                "admin": settings.admin_image,
                "model_server": settings.model_server_image,
            },
            "chip": catalog.SAX_CHIP,
            "topology": self.decision.slice.topology,
            "admin_port": ADMIN_PORT,
            "server_port": SERVER_PORT,
            "model_path": self.decision.model_path,
            "heartbeat_seconds": settings.heartbeat_seconds,
            "server_restart_seconds": settings.server_restart_seconds,
        }


def compile_plan(
    manifest: Manifest,
    settings: Settings,
    *,
    generation: str,
    attempt: int,
    facts: WeightFacts,
    manifest_uri: str,
) -> Plan:
    """Compile one attempt of one generation.

    Args:
        generation: Cloud Storage generation of the manifest's object, decimal.
        attempt: 1 for the first.
        facts: what is known of the weights.
        manifest_uri: gs:// URI of the manifest's object.

    Raises:
        ManifestError: the plan refuses; every refusal is a problem.
        InputError: a part is too large.
        ConfigurationError: settings or bundled scripts are missing.
    """
    _check_settings(settings)
    chosen = decide(manifest, settings, facts)
    core = _core(manifest, settings, chosen, facts, generation, attempt)
    core["manifest"] = {"uri": manifest_uri, "generation": generation}
    digest = hashlib.sha256(_json(core)).hexdigest()[:32]
    labels = bodies.labels(manifest.name, names.generation36(generation), attempt, digest)
    body = _job_body(manifest, settings, core, labels)
    bodies.check_job(body)
    parts = {
        "job.json": _json(body),
        "publish.json": _json(_publish(chosen, core)),
        SERVABLE_PART: _json(_servable(chosen, facts)),
        STARTUP_PART: bundled.text("tpu/startup.sh").encode(),
    }
    checked = {name: _part(name, data) for name, data in parts.items()}
    return Plan(core["id"], core, checked, chosen, manifest, settings, labels)


def core_with_parts(core: Mapping[str, Any], parts: Mapping[str, Mapping[str, str]]) -> bytes:
    """Return core.json.

    Args:
        core: `Plan.core`.
        parts: part name -> {"name": object, "generation", "sha256"} as stored.
    """
    named = {name: dict(place) for name, place in sorted(parts.items())}
    return _part("core.json", _json({**core, "parts": named}))


def _core(
    manifest: Manifest,
    settings: Settings,
    chosen: Decision,
    facts: WeightFacts,
    generation: str,
    attempt: int,
) -> dict[str, Any]:
    identifier = names.deployment_id(manifest.name, generation, attempt)
    return {
        "apiVersion": API_VERSION,
        "name": manifest.name,
        "generation": generation,
        "attempt": attempt,
        "id": identifier,
        "model": {
            "size": chosen.size.name if chosen.size else None,
            "dtype": manifest.model.dtype,
            "dimensions": facts.dimensions.as_dict(),
            "id": f"{manifest.serve.cell}/{chosen.model}",
        },
        **_installation(settings),
        "control": {
            "bucket": settings.control_bucket,
            "head": names.head_object(manifest.name),
            "prefix": names.plan_prefix(manifest.name, generation),
            "events": names.events_prefix(manifest.name, generation),
        },
        "checkpoint": _checkpoint(manifest, chosen, facts),
        "job": {
            "id": identifier,
            "parent": f"projects/{settings.project}/locations/{settings.location}",
        },
        "tpu": {
            "id": identifier,
            "accelerator_type": chosen.slice.accelerator_type,
            "zones": list(chosen.zones),
            "parents": [tpu.zone_path(settings.project, zone) for zone in chosen.zones],
            "hosts": chosen.slice.hosts,
            "hourly_usd": chosen.hourly_usd,
        },
        "cell": _cell(manifest, settings, generation, attempt),
        "deadlines": _deadlines(manifest, settings),
        "lifecycle": {
            "ttl_seconds": manifest.lifecycle.ttl_seconds,
            "on_failure": manifest.lifecycle.on_failure,
            "replace": manifest.lifecycle.replace,
        },
        "smoke": {"prompt": chosen.prompt, "contains": chosen.contains},
    }


def _installation(settings: Settings) -> dict[str, Any]:
    services = ("storage", "pubsub", "batch", "tpu")
    return {
        "apis": {service: settings.endpoints.api_root(service) for service in services},
        "project": settings.project,
        "location": settings.location,
        "topic": settings.topic_path,
        "functions": {
            "commit_checkpoint": settings.commit_url,
            "publish_model": settings.publish_url,
        },
        "intervals": {
            "poll": settings.poll_seconds,
            "progress": settings.progress_seconds,
            "lease": settings.lease_seconds,
        },
    }


def _checkpoint(manifest: Manifest, chosen: Decision, facts: WeightFacts) -> dict[str, Any]:
    dtype, mesh = manifest.model.dtype, chosen.slice.chips
    name = fingerprint(facts.files, dtype=dtype, layout=layout.layout_facts(mesh, COMPRESSOR))
    bucket, _, prefix = chosen.destination.removeprefix("gs://").partition("/")
    directory = f"{prefix}/{name}"
    step = f"gs://{bucket}/{directory}/{layout.STEP_DIRECTORY}"
    return {
        "bucket": bucket,
        "directory": directory,
        "uri": f"gs://{bucket}/{directory}",
        "step": step,
        "fingerprint": name,
        "dtype": dtype,
        "mesh": mesh,
        "compressor": COMPRESSOR,
        "tasks": job.task_count(facts.size_bytes),
        "bytes": facts.dimensions.parameters * layout.itemsize_of(dtype),
        "markers": [
            {
                "name": f"{directory}/{layout.STEP_DIRECTORY}/{marker}",
                "text": layout.marker_text(f"{step}/{marker}".rpartition("/")[0]),
            }
            for marker in layout.MARKERS
        ],
    }


def _cell(manifest: Manifest, settings: Settings, generation: str, attempt: int) -> dict[str, str]:
    root = names.attempt_root(manifest.name, generation, attempt)
    return {
        "bucket": settings.cells_bucket,
        "root": root,
        "sax_root": f"gs://{settings.cells_bucket}/{root}/sax-root",
        "fs_root": f"gs://{settings.cells_bucket}/{root}/sax-fs-root",
        "workers": f"{root}/workers/",
        "cell": manifest.serve.cell,
    }


def _deadlines(manifest: Manifest, settings: Settings) -> dict[str, float]:
    stages = _STAGE_SECONDS | {"tpu": seconds_of(manifest.tpu.valid_until) + 600}
    return {stage: seconds * settings.deadline_scale for stage, seconds in stages.items()}


def _job_body(
    manifest: Manifest, settings: Settings, core: Mapping[str, Any], labels: dict[str, str]
) -> dict[str, Any]:
    checkpoint = core["checkpoint"]
    arguments = job.worker_arguments(
        source=manifest.weights.source.rstrip("/"),
        destination=checkpoint["uri"],
        fingerprint=checkpoint["fingerprint"],
        dtype=checkpoint["dtype"],
        mesh=checkpoint["mesh"],
        compressor=checkpoint["compressor"],
        sha256=manifest.weights.sha256,
    )
    return job.job_body(
        settings,
        arguments=arguments,
        tasks=checkpoint["tasks"],
        deadline_seconds=_TASK_SECONDS * settings.deadline_scale,
        labels=labels,
    )


def _publish(chosen: Decision, core: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model_id": core["model"]["id"],
        "model_path": chosen.model_path,
        "checkpoint": core["checkpoint"]["step"],
        "replicas": 1,
        "overrides": {},
        "sax_root": core["cell"]["sax_root"],
        "cell": core["cell"]["cell"],
        "chip": catalog.SAX_CHIP_ENUM,
        "topology": chosen.slice.topology,
        "smoke": core["smoke"],
        "max_new_tokens": chosen.load.max_new_tokens,
    }


def _servable(chosen: Decision, facts: WeightFacts) -> dict[str, Any]:
    dims = facts.dimensions
    return {
        "class": chosen.model_path.rpartition(".")[2],
        "model_path": chosen.model_path,
        "layers": dims.layers,
        "heads": dims.heads,
        "kv_heads": dims.kv_heads,
        "head_dim": dims.head_dim,
        "model_dim": dims.model_dim,
        "hidden_dim": dims.hidden_dim,
        "vocab": dims.vocab,
        "norm_eps": dims.norm_eps,
        "rope_theta": dims.rope_theta,
        "mesh": [1, 1, chosen.slice.chips],
        "batch": chosen.load.batch,
        "input_len": chosen.load.input_len,
        "max_new_tokens": chosen.load.max_new_tokens,
        "stream": chosen.stream,
        "tokenizer": facts.tokenizer_uri,
        "compute_dtype": COMPUTE_DTYPE,
    }


def _check_settings(settings: Settings) -> None:
    missing = [name for name in _REQUIRED_SETTINGS if not getattr(settings, name)]
    if missing:
        variables = ", ".join(f"SAXFLOW_{name.upper()}" for name in missing)
        raise ConfigurationError(f"{variables} not set; a plan names images and functions")


def _part(name: str, data: bytes) -> bytes:
    if len(data) > MAX_PART_BYTES:
        raise InputError(
            f"{name} has {len(data)} bytes, a Workflow reads at most {MAX_PART_BYTES};"
            " shorten the manifest's lists"
        )
    return data


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()
