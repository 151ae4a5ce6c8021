"""Which matrices of the source make up which Pax variable: one table.

With D model dim, H heads, K kv heads, h head dim, F hidden, V vocab, Pax stores

    combined_qkv  [3, D, H, h]   wq, wk, wv  [H*h, D] each, transposed
    post          [D, H, h]      wo          [D, H*h], as it is
    ffn_layer1*   [D, F]         w1, w3      [F, D], transposed
    ffn_layer2    [F, D]         w2          [D, F], transposed
    emb_var       [V, D]         embedding   [V, D], as it is
    logits_ffn    [D, V]         output      [V, D], transposed

Source: google/saxml saxml/tools/convert_llama_ckpt.py v1.1.0, lines 117-219. (Line 169 is right as
it stands: it is each layer's own attention_norm.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from saxflow.layout import PREFIX

_LAYER = re.compile(r"transformer\.x_layers_(\d+)\.(.+)")


@dataclass(frozen=True)
class Recipe:
    """How a variable is made.

    Args:
        tensors: Meta's names; more than one are stacked on a new first axis.
        transposed: whether each matrix is turned before it is reshaped.
    """

    tensors: tuple[str, ...]
    transposed: bool


TOP = {
    "embedding_lookup.emb_var": Recipe(("tok_embeddings.weight",), transposed=False),
    "softmax.logits_ffn.linear.w": Recipe(("output.weight",), transposed=True),
    "final_ln.scale": Recipe(("norm.weight",), transposed=False),
}
LAYER = {
    "layer_norm.scale": Recipe(("attention_norm.weight",), transposed=False),
    "ff_layer.layer_norm.scale": Recipe(("ffn_norm.weight",), transposed=False),
    "self_attention.combined_qkv.w": Recipe(
        ("attention.wq.weight", "attention.wk.weight", "attention.wv.weight"), transposed=True
    ),
    "self_attention.query.w": Recipe(("attention.wq.weight",), transposed=True),
    "self_attention.key.w": Recipe(("attention.wk.weight",), transposed=True),
    "self_attention.value.w": Recipe(("attention.wv.weight",), transposed=True),
    "self_attention.post.w": Recipe(("attention.wo.weight",), transposed=False),
    "ff_layer.ffn_layer1_gate.linear.w": Recipe(("feed_forward.w1.weight",), transposed=True),
    "ff_layer.ffn_layer1.linear.w": Recipe(("feed_forward.w3.weight",), transposed=True),
    "ff_layer.ffn_layer2.linear.w": Recipe(("feed_forward.w2.weight",), transposed=True),
}


def recipe(variable: str) -> Recipe:
    """Return how a Pax variable is made of Meta's tensors.

    Raises:
        KeyError: it is no variable of a Llama.
    """
    name = variable.removeprefix(PREFIX)
    inner = _LAYER.fullmatch(name)
    if inner is None:
        return TOP[name]
    found = LAYER[inner[2]]
    at = f"layers.{inner[1]}."
    return Recipe(tuple(at + tensor for tensor in found.tensors), found.transposed)
