"""`saxflow generate`: ask what a deployment serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from saxflow.cli.console import print_json
from saxflow.cli.reach import require_storage
from saxflow.cli.sax import PATIENCE_SECONDS, extra_inputs, sampling_options, show_piece

if TYPE_CHECKING:
    from saxflow.serving.requests import Completion


@click.command("generate")
@click.argument("name")
@click.argument("prompt")
@sampling_options
def generate(
    name: str,
    prompt: str,
    max_tokens: int | None,
    temperature: float | None,
    extras: Sequence[str],
    deadline_seconds: float,
    *,
    no_stream: bool,
    as_json: bool,
) -> None:
    """Let the model of deployment NAME go on with PROMPT."""
    import asyncio

    from saxflow.serving.requests import Completion

    completion = Completion(
        model=name,
        prompt=prompt,
        options=extra_inputs(extras, temperature),
        max_tokens=max_tokens,
        stream=not no_stream,
    )
    require_storage()
    result = asyncio.run(_ask(completion, deadline_seconds, as_json=as_json))
    if as_json:
        print_json({"deployment": name, "prompt": prompt, **result})
    else:
        click.echo()


async def _ask(completion: Completion, deadline_seconds: float, *, as_json: bool) -> dict[str, Any]:
    """Print the text as it comes; return it whole, why it ended, and its tokens."""
    from saxflow.pipeline.services import services
    from saxflow.serving.answers import prepare
    from saxflow.serving.backends import Backends
    from saxflow.serving.deployments import Deployments

    deployments = Deployments(services, believe_seconds=deadline_seconds)
    backends = Backends(deployments, patience_seconds=PATIENCE_SECONDS)
    try:
        answer = await prepare(backends, completion)
        async for piece in answer.pieces(deadline_seconds):
            if completion.stream or not as_json:
                show_piece(piece, as_json=as_json)
    finally:
        await backends.close()
    usage = answer.usage
    return {
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "usage": usage.as_dict() if usage else None,
    }
