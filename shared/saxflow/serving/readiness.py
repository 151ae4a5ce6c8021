"""Ready means: a token was produced, not that a process runs.

Traffic proves it; without traffic a one-token question does, at most once in `PROOF_SECONDS` for a
deployment.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from saxflow.errors import SaxflowError
from saxflow.sax.servable import IDS_TOKENIZER
from saxflow.serving.backends import Backends, Question
from saxflow.serving.deployments import Target

PROOF_SECONDS = 60.0
PROBE_SECONDS = 10.0


class Readiness:
    """Remembers when each deployment last produced a token."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._proven: dict[str, float] = {}
        self._asking = asyncio.Lock()

    def prove(self, name: str) -> None:
        """Note that a model has just answered."""
        self._proven[name] = time.monotonic()

    async def ready(self) -> str | None:
        """Return None when some deployment produces tokens, else why none does."""
        async with self._asking:
            try:
                targets = await self._backends.all()
            except SaxflowError as error:
                return str(error)
            reason = "no deployment serves"
            for target in targets:
                if self._is_proven(target):
                    return None
            for target in targets:
                failure = await self._ask(target)
                if failure is None:
                    return None
                reason = failure
            return reason

    def _is_proven(self, target: Target) -> bool:
        now = time.monotonic()
        names = (target.deployment, str(target.model))
        return any(now - self._proven.get(name, -PROOF_SECONDS) < PROOF_SECONDS for name in names)

    async def _ask(self, target: Target) -> str | None:
        prompt = "3" if target.servable.tokenizer == IDS_TOKENIZER else "Hello"
        options = {"temperature": 0.0, "per_example_max_decode_steps": 1.0}
        question = Question(target.deployment, prompt, options, PROBE_SECONDS)
        try:
            async with aclosing(self._backends.ask(question)) as answers:
                async for _ in answers:
                    self.prove(target.deployment)
        except SaxflowError as error:
            return f"{target.deployment}: {error}"
        return None
