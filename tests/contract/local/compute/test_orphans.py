"""A cloud that is killed takes every process of its Jobs and VMs with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

PROGRAM = """
import sys, threading
from pathlib import Path
from google.cloud import batch_v1, tpu_v2
from saxflow.local.batch.service import BatchService
from saxflow.local.images import ImageRegistry
from saxflow.local.rpc.operations import Operations
from saxflow.local.surroundings import Surroundings
from saxflow.local.tpu.service import TpuService

data = Path(sys.argv[1])
images = data / "images.json"
tell = f"(setsid sleep 600 & echo $! >>{data}/pids); echo $$ >>{data}/pids; exec sleep 600"
ImageRegistry({"img": ["/bin/bash", "-c", tell]}).save(images)
around = Surroundings(data, {"PATH": "/usr/bin:/bin"}, images)
zone = "projects/p/locations/us-central1-a"
node = {
    "accelerator_type": "v5litepod-4",
    "runtime_version": "v2-alpha-tpuv5-lite",
    "metadata": {"startup-script": "#!/bin/bash\\ndocker run -d --name container img\\n" + tell},
}
spec = {"parent": zone, "node_id": "sf-a", "node": node}
TpuService(around, Operations()).create_queued_resource(tpu_v2.CreateQueuedResourceRequest(
    parent=zone, queued_resource_id="sf-a", queued_resource={"tpu": {"node_spec": [spec]}}))
job = {"task_groups": [{"task_spec": {"runnables": [{"container": {"image_uri": "img"}}]}}]}
BatchService(around, Operations()).create_job(batch_v1.CreateJobRequest(
    parent="projects/p/locations/us-central1", job_id="j", job=job))
threading.Event().wait()
"""


def test_kill_9_leaves_no_process(tmp_path, eventually):
    cloud = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)])
    try:
        eventually(lambda: len(_pids(tmp_path)) == 6, 60)
        assert all(os.path.exists(f"/proc/{pid}") for pid in _pids(tmp_path))
    finally:
        cloud.send_signal(signal.SIGKILL)
        cloud.wait()
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in _pids(tmp_path)))


def _pids(directory):
    file = directory / "pids"
    return file.read_text().split() if file.exists() else []
