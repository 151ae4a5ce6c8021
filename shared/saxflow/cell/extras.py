"""Extra inputs of a request: which are known, their defaults, and what sampling they ask for.

Source: google/saxml v1.1.0 `server/validate.py`, `server/pax/lm/params/lm_cloud.py`
(`EXTRA_INPUTS`); `seed` is saxflow's own.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping

from saxflow.cell.engine import Sampling
from saxflow.cell.refusals import refusal
from saxflow.sax import messages as m

NO_SEED = -1.0


def generate_defaults(max_new_tokens: int) -> dict[str, float]:
    """Return the extra inputs Generate knows, with their defaults: greedy, as long as allowed."""
    return {
        "temperature": 0.0,
        "per_example_max_decode_steps": float(max_new_tokens),
        "per_example_top_k": 0.0,
        "per_example_top_p": 1.0,
        "seed": NO_SEED,
    }


def check(extra: m.ExtraInputs, known: Mapping[str, float]) -> None:
    """Refuse what the method does not know.

    Raises:
        SaxError: INVALID_ARGUMENT, in SAX's words.
    """
    for key in [*extra.items, *extra.tensors, *extra.strings]:
        if key not in known:
            raise _invalid(
                f"The extra_inputs key `{key}` in the RPC request is not defined in"
                " ServableModel.extra_inputs. Current ServableModel.extra_inputs is"
                f" {dict(known)}."
            )
    for key in extra.tensors:
        raise _invalid(f"Extra inputs `{key}` is a list but the default value is not.")
    for key in extra.strings:
        raise _invalid(f"Extra inputs `{key}` is a string but the default value is not.")


def sampling_of(extra: m.ExtraInputs, max_new_tokens: int) -> Sampling:
    """Return the sampling a Generate request asks for.

    Raises:
        SaxError: INVALID_ARGUMENT, an input is unknown or no number that makes sense.
    """
    known = generate_defaults(max_new_tokens)
    check(extra, known)
    values = {**known, **extra.items}
    for key, value in values.items():
        if not math.isfinite(value) or (value < 0 and (key, value) != ("seed", NO_SEED)):
            raise _invalid(f"Extra inputs `{key}` is {value:g}; it must be a number from 0 up.")
    steps = int(values["per_example_max_decode_steps"])
    top_p = values["per_example_top_p"]
    seed = values["seed"]
    return Sampling(
        max_tokens=min(max(steps, 1), max_new_tokens),
        temperature=values["temperature"],
        top_k=min(int(values["per_example_top_k"]), 2**31 - 1),
        top_p=1.0 if top_p == 0 else top_p,
        seed=secrets.randbits(32) if seed == NO_SEED else int(seed) % 2**32,
    )


def _invalid(message: str) -> Exception:
    return refusal(message, "INVALID_ARGUMENT")
