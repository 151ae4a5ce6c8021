"""The container images of an installation on a laptop, and the commands that stand for them.

References look like those in Artifact Registry, digest included, so that plans, Batch and the TPU
VMs' `docker` treat them as they would in the cloud.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from saxflow import __version__, bundled
from saxflow.local.images import ImageRegistry

REPOSITORY = "us-central1-docker.pkg.dev/saxflow-local/saxflow"


def reference(name: str) -> str:
    """Return the pinned reference of one of our images."""
    digest = hashlib.sha256(f"{name} {__version__}".encode()).hexdigest()
    return f"{REPOSITORY}/{name}@sha256:{digest}"


CONVERT = reference("convert-checkpoint")
ADMIN = reference("sax-admin-server")
MODEL_SERVER = reference("sax-model-server")


def registry(data_dir: Path) -> ImageRegistry:
    """Return the image registry of the laptop.

    Args:
        data_dir: of the embedded cloud; compiled programs are kept there for the next server.
    """
    python = sys.executable
    cache = f"--jax_cache_dir={data_dir / 'jax-cache'}"
    return ImageRegistry(
        {
            CONVERT: (python, str(bundled.path("batch_jobs/convert_checkpoint/main.py"))),
            ADMIN: (python, "-m", "saxflow.cell.containers", "admin"),
            MODEL_SERVER: (python, "-m", "saxflow.cell.containers", "model-server", cache),
        }
    )
