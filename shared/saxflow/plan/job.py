"""The Batch Job that converts: N Tasks, one a VM, Spot, retried only where that can help.

Source: Cloud Batch v1 Job; https://cloud.google.com/batch/docs/troubleshooting#reserved-exit-codes.
"""

from __future__ import annotations

import json
from typing import Any

from saxflow.errors import TransientError
from saxflow.settings import Settings

MACHINE_TYPE = "n2-standard-16"
CPU_MILLI = 16_000
MEMORY_MIB = 60_000
BOOT_DISK_GB = 50
TASK_BYTES = 16 << 30
MAX_TASKS = 8
MAX_RETRIES = 5
RETRIED_EXIT_CODES = (TransientError.exit_code, 50001, 50002, 50003, 50006)
"""Our own transient code; VM preempted, not reporting, rebooted, recreated."""


def task_count(source_bytes: int) -> int:
    """Return the Tasks for so many bytes: one for each 16 GiB begun, 1 to 8."""
    return max(1, min(MAX_TASKS, -(-source_bytes // TASK_BYTES)))


def worker_arguments(
    *,
    source: str,
    destination: str,
    fingerprint: str,
    dtype: str,
    mesh: int,
    compressor: str,
    sha256: dict[str, str],
) -> list[str]:
    """Return the converter's command line."""
    arguments = {
        "--source": source,
        "--destination": destination,
        "--fingerprint": fingerprint,
        "--dtype": dtype,
        "--mesh": str(mesh),
        "--compressor": compressor,
    }
    if sha256:
        arguments["--sha256"] = json.dumps(sha256, sort_keys=True)
    return [text for pair in arguments.items() for text in pair]


def job_body(
    settings: Settings,
    *,
    arguments: list[str],
    tasks: int,
    deadline_seconds: float,
    labels: dict[str, str],
) -> dict[str, Any]:
    """Return the REST body of the Job.

    Args:
        arguments: the converter's command line.
        deadline_seconds: longest run of one Task.
    """
    return {
        "priority": 50,
        "taskGroups": [
            {
                "taskCount": str(tasks),
                "parallelism": str(tasks),
                "taskCountPerNode": "1",
                "taskSpec": _task_spec(settings, arguments, deadline_seconds),
            }
        ],
        "allocationPolicy": _allocation(settings, labels),
        "labels": labels,
        "logsPolicy": {"destination": "CLOUD_LOGGING"},
    }


def _task_spec(settings: Settings, arguments: list[str], deadline_seconds: float) -> dict[str, Any]:
    return {
        "runnables": [
            {
                "displayName": "convert",
                "container": {"imageUri": settings.convert_image, "commands": arguments},
            }
        ],
        "computeResource": {"cpuMilli": str(CPU_MILLI), "memoryMib": str(MEMORY_MIB)},
        "maxRetryCount": MAX_RETRIES,
        "maxRunDuration": f"{max(1, round(deadline_seconds))}s",
        "lifecyclePolicies": [
            {
                "action": "RETRY_TASK",
                "actionCondition": {"exitCodes": list(RETRIED_EXIT_CODES)},
            }
        ],
    }


def _allocation(settings: Settings, labels: dict[str, str]) -> dict[str, Any]:
    policy: dict[str, Any] = {
        "location": {"allowedLocations": [f"regions/{settings.location}"]},
        "instances": [
            {
                "policy": {
                    "machineType": MACHINE_TYPE,
                    "provisioningModel": "SPOT",
                    "bootDisk": {"type": "pd-balanced", "sizeGb": str(BOOT_DISK_GB)},
                }
            }
        ],
        "labels": labels,
    }
    if settings.batch_account:
        policy["serviceAccount"] = {"email": settings.batch_account}
    if settings.network or settings.subnetwork:
        interface = {"network": settings.network, "subnetwork": settings.subnetwork}
        present = {key: value for key, value in interface.items() if value}
        policy["network"] = {"networkInterfaces": [{**present, "noExternalIpAddress": True}]}
    return policy
