"""The demo's tour: upload the tiny Llama with the ordinary client, follow it, ask it something."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from saxflow import bundled, events, manifest
from saxflow.errors import CloudError, ProtocolError
from saxflow.events import Event
from saxflow.gcp.objects import Uri
from saxflow.head import Head
from saxflow.pipeline.follow import follow
from saxflow.pipeline.heads import read_head
from saxflow.pipeline.services import services

DEPLOYMENT = "tiny-llama"
WEIGHTS = ("consolidated.00.pth", "consolidated.01.pth", "params.json", "tokenizer.model")
GENERATE_SECONDS = 30.0


class Tour:
    """One journey of the tiny Llama through the pipeline that the environment points at."""

    def __init__(self) -> None:
        self._services = services()
        self._folder = bundled.path("examples/tiny-llama")
        self._data = (self._folder / f"{DEPLOYMENT}.yaml").read_bytes()
        self._manifest = manifest.parse(self._data, source_name=f"{DEPLOYMENT}.yaml")
        self._seen: list[Event] = []
        self._generation = "0"
        self._dropped_at = 0.0
        self._seconds = 0.0

    @property
    def manifest_uri(self) -> Uri:
        """Where the manifest is uploaded."""
        return Uri(self._services.settings.manifests_bucket, f"{DEPLOYMENT}.yaml")

    @property
    def state(self) -> str:
        """State of the deployment after the events seen so far."""
        return events.fold(self._seen).state

    def upload(self) -> None:
        """Upload weights, then the manifest; the second upload starts everything."""
        source = Uri.parse(self._manifest.weights.source)
        for name in WEIGHTS:
            data = (self._folder / name).read_bytes()
            self._services.objects.write(
                source.child(name),
                data,
                if_generation=None,
                content_type="application/octet-stream",
            )
        self._dropped_at = time.monotonic()
        self._generation = (
            self._services.objects.write(
                self.manifest_uri, self._data, if_generation=None, content_type="application/yaml"
            )
            or "0"
        )

    def events(self, timeout_seconds: float) -> Iterator[Event]:
        """Yield the events of this upload until its attempt ends."""
        after = str(int(self._generation) - 1)
        deadline = time.monotonic() + timeout_seconds
        for event in follow(self._services, DEPLOYMENT, after=after, deadline=deadline):
            self._seen.append(event)
            self._seconds = time.monotonic() - self._dropped_at
            yield event

    def result(self) -> dict[str, Any]:
        """Return {deployment, state, prompt, text, events, seconds, checkpoint, sax_root, failure}.

        Raises:
            CloudError, ProtocolError: the model serves and yet does not answer over HTTP.
        """
        folded = events.fold(self._seen)
        found = read_head(self._services, DEPLOYMENT)
        serving = (found[0] if found else Head(DEPLOYMENT)).serving
        smoke = self._manifest.serve.smoke_test
        prompt = smoke.prompt if smoke else ""
        return {
            "deployment": DEPLOYMENT,
            "state": folded.state,
            "prompt": prompt,
            "text": self._generate(prompt) if folded.state == "serving" else None,
            "events": [event.name for event in self._seen],
            "seconds": round(self._seconds, 2),
            "checkpoint": serving.checkpoint if serving else None,
            "sax_root": serving.sax_root if serving else None,
            "failure": dict(folded.failure) if folded.failure else None,
        }

    def _generate(self, prompt: str) -> str:
        """Ask over HTTP, as any user would."""
        import requests

        url = f"{self._services.settings.generate_url}/generate"
        options = {"temperature": 0.0, "per_example_max_decode_steps": 48}
        body = {"model": DEPLOYMENT, "query": prompt, "extra_inputs": options}
        try:
            reply = requests.post(url, json=body, timeout=GENERATE_SECONDS)
        except requests.RequestException as error:
            raise CloudError(f"POST {url}: {error}", service="generate", retryable=True) from error
        if reply.status_code != 200:
            raise CloudError(
                f"POST {url}: {reply.status_code} {reply.text}",
                service="generate",
                code=reply.status_code,
            )
        try:
            return str(reply.json()[0][0])
        except (json.JSONDecodeError, LookupError, TypeError) as error:
            raise ProtocolError(f"POST {url} answered {reply.text!r}") from error
