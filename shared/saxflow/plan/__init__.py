"""The plan: a manifest, the operator's settings and facts about weights, compiled into bodies.

facts          what a listing and two small files tell of the weights
sentencepiece  how many pieces a tokenizer has
hbm            does it fit the memory of a slice
decide         what the manifest leaves open, and every reason to refuse
job, tpu       bodies of the Batch Job and of the QueuedResources
bodies         labels, and the check against Google's typed messages
compile        all of it: `core.json` and its parts
"""

from __future__ import annotations

from saxflow.plan.compile import Plan, compile_plan, core_with_parts
from saxflow.plan.decide import check_manifest
from saxflow.plan.facts import WeightFacts, tokenizer_candidates, weight_facts

__all__ = [
    "Plan",
    "WeightFacts",
    "check_manifest",
    "compile_plan",
    "core_with_parts",
    "tokenizer_candidates",
    "weight_facts",
]
