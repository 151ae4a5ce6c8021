"""The same Llama in plain torch with a key/value cache: what the cell's speed is held against."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saxflow.weights import Dimensions


class TorchLlama:
    """Greedy decoding of one sequence, weights as `torch.nn.Linear` keeps them."""

    def __init__(self, dims: Dimensions, variables: Mapping[str, Any]) -> None:
        self.dims = dims
        self._embedding = _tensor(variables["embedding_lookup.emb_var"])
        self._final = _tensor(variables["final_ln.scale"])
        self._head = _tensor(variables["softmax.logits_ffn.linear.w"].T)
        self._layers = [_layer(dims, variables, i) for i in range(dims.layers)]
        powers = torch.arange(0, dims.head_dim, 2).float() / dims.head_dim
        self._frequency = dims.rope_theta**-powers

    @torch.inference_mode()
    def generate(self, ids: Sequence[int], steps: int) -> tuple[list[int], float, float]:
        """Return the tokens, seconds to the first one, and tokens per second after it."""
        size = len(ids) + steps
        shape = (self.dims.kv_heads, size, self.dims.head_dim)
        cache = [(torch.zeros(shape), torch.zeros(shape)) for _ in self._layers]
        began = time.perf_counter()
        tokens = [self._next(torch.tensor(ids), 0, cache)]
        first = time.perf_counter()
        while len(tokens) < steps:
            position = len(ids) + len(tokens) - 1
            tokens.append(self._next(torch.tensor(tokens[-1:]), position, cache))
        rate = (steps - 1) / (time.perf_counter() - first)
        return tokens, first - began, rate

    def _next(self, ids: Tensor, start: int, cache: list[tuple[Tensor, Tensor]]) -> int:
        x = self._embedding[ids]
        angles = torch.arange(start, start + len(ids))[:, None] * self._frequency
        turn = torch.polar(torch.ones_like(angles), angles)
        for layer, held in zip(self._layers, cache, strict=True):
            x = x + self._attend(layer, self._norm(x, layer["attention_norm"]), turn, start, held)
            normed = self._norm(x, layer["ffn_norm"])
            gate = torch.nn.functional.silu(torch.nn.functional.linear(normed, layer["gate"]))
            up = torch.nn.functional.linear(normed, layer["up"])
            x = x + torch.nn.functional.linear(gate * up, layer["down"])
        last = self._norm(x[-1], self._final)
        return int(torch.argmax(torch.nn.functional.linear(last, self._head)))

    def _attend(
        self, layer: dict[str, Tensor], x: Tensor, turn: Tensor, start: int, held: Any
    ) -> Tensor:
        end = start + len(x)
        query, key, value = (self._heads(torch.nn.functional.linear(x, layer[n])) for n in "qkv")
        held[0][:, start:end] = _rotate(key, turn)
        held[1][:, start:end] = value
        out = torch.nn.functional.scaled_dot_product_attention(
            _rotate(query, turn)[None],
            held[0][None, :, :end],
            held[1][None, :, :end],
            is_causal=start == 0 and len(x) > 1,
            enable_gqa=True,
        )
        return torch.nn.functional.linear(out[0].transpose(0, 1).reshape(len(x), -1), layer["o"])

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1, self.dims.head_dim).transpose(0, 1)

    def _norm(self, x: Tensor, scale: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.dims.norm_eps) * scale


def _rotate(x: Tensor, turn: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * turn).reshape(x.shape)


def _layer(dims: Dimensions, variables: Mapping[str, Any], index: int) -> dict[str, Tensor]:
    name = f"transformer.x_layers_{index}"
    attention, ffn = f"{name}.self_attention", f"{name}.ff_layer"
    width = dims.model_dim
    return {
        "attention_norm": _tensor(variables[f"{name}.layer_norm.scale"]),
        "q": _tensor(variables[f"{attention}.query.w"].reshape(width, -1).T),
        "k": _tensor(variables[f"{attention}.key.w"].reshape(width, -1).T),
        "v": _tensor(variables[f"{attention}.value.w"].reshape(width, -1).T),
        "o": _tensor(variables[f"{attention}.post.w"].reshape(width, -1)),
        "ffn_norm": _tensor(variables[f"{ffn}.layer_norm.scale"]),
        "gate": _tensor(variables[f"{ffn}.ffn_layer1_gate.linear.w"].T),
        "up": _tensor(variables[f"{ffn}.ffn_layer1.linear.w"].T),
        "down": _tensor(variables[f"{ffn}.ffn_layer2.linear.w"].T),
    }


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
