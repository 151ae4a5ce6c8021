"""A Llama's forward pass as Meta published it, in plain torch.

The example trains with it, and the tests take it as the reference: in float64 it reproduces the
golden logits, so what it says of a checkpoint is what Meta's own code would say.

Source: meta-llama/llama `llama/model.py` (RMSNorm, apply_rotary_emb, Attention, FeedForward).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from saxflow.weights import Dimensions

SHARD_AXIS = {
    "tok_embeddings": 1,
    "output": 0,
    "wq": 0,
    "wk": 0,
    "wv": 0,
    "wo": 1,
    "w1": 0,
    "w2": 1,
    "w3": 0,
}
"""Axis along which tensor-parallel shards hold a weight; what is not named is in every shard."""


class RMSNorm(nn.Module):
    """Scale by the root mean square over the last axis, taken in at least float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        wide = _widened(x)
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return scaled.type_as(x) * self.weight


class Attention(nn.Module):
    """Causal attention; with fewer kv heads, query heads `i * H/K ...` share kv head `i`."""

    def __init__(self, dims: Dimensions) -> None:
        super().__init__()
        self.head_dim = dims.head_dim
        self.groups = dims.heads // dims.kv_heads
        self.wq = nn.Linear(dims.model_dim, dims.heads * dims.head_dim, bias=False)
        self.wk = nn.Linear(dims.model_dim, dims.kv_heads * dims.head_dim, bias=False)
        self.wv = nn.Linear(dims.model_dim, dims.kv_heads * dims.head_dim, bias=False)
        self.wo = nn.Linear(dims.heads * dims.head_dim, dims.model_dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        query = rotate(self._heads(self.wq(x)), cos, sin)
        key = rotate(self._heads(self.wk(x)), cos, sin).repeat_interleave(self.groups, dim=1)
        value = self._heads(self.wv(x)).repeat_interleave(self.groups, dim=1)
        scores = query @ key.transpose(-1, -2) / self.head_dim**0.5
        scores = scores + torch.full_like(scores[0, 0], float("-inf")).triu(1)
        mixed = torch.softmax(_widened(scores), dim=-1).type_as(x) @ value
        return self.wo(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """View `[B, T, n*h] -> [B, n, T, h]`."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU: `w2(silu(w1 x) * w3 x)`."""

    def __init__(self, dims: Dimensions) -> None:
        super().__init__()
        self.w1 = nn.Linear(dims.model_dim, dims.hidden_dim, bias=False)
        self.w2 = nn.Linear(dims.hidden_dim, dims.model_dim, bias=False)
        self.w3 = nn.Linear(dims.model_dim, dims.hidden_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(nn.functional.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    """One transformer block, both halves residual."""

    def __init__(self, dims: Dimensions) -> None:
        super().__init__()
        self.attention = Attention(dims)
        self.feed_forward = FeedForward(dims)
        self.attention_norm = RMSNorm(dims.model_dim, dims.norm_eps)
        self.ffn_norm = RMSNorm(dims.model_dim, dims.norm_eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed_forward(self.ffn_norm(x))


class Llama(nn.Module):
    """The whole model; parameter names are the tensor names of Meta's files."""

    def __init__(self, dims: Dimensions) -> None:
        super().__init__()
        self.dims = dims
        self.tok_embeddings = nn.Embedding(dims.vocab, dims.model_dim)
        self.layers = nn.ModuleList(Block(dims) for _ in range(dims.layers))
        self.norm = RMSNorm(dims.model_dim, dims.norm_eps)
        self.output = nn.Linear(dims.model_dim, dims.vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits `[B, T] -> [B, T, V]` of every position."""
        x = self.tok_embeddings(tokens)
        angles = torch.outer(torch.arange(tokens.shape[1]), frequencies(self.dims))
        cos, sin = torch.cos(angles), torch.sin(angles)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.output(self.norm(x))


def frequencies(dims: Dimensions) -> Tensor:
    """Return the rotary frequencies `[h/2]` in float64."""
    exponents = torch.arange(0, dims.head_dim, 2, dtype=torch.float64) / dims.head_dim
    return dims.rope_theta**-exponents


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring pairs of `[B, n, T, h]` by `[T, h/2]` angles (interleaved rotary)."""
    wide = _widened(x)
    cos, sin = cos.to(wide.dtype), sin.to(wide.dtype)
    even, odd = wide[..., 0::2], wide[..., 1::2]
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).type_as(x)


@torch.no_grad()
def greedy(model: Llama, tokens: Sequence[int], *, steps: int, eos: int) -> list[int]:
    """Return what follows `tokens`, at most `steps` of them and without the closing `eos`."""
    answer: list[int] = []
    while len(answer) < steps:
        following = int(model(torch.tensor([[*tokens, *answer]]))[0, -1].argmax())
        if following == eos:
            break
        answer.append(following)
    return answer


def load(folder: Path, dims: Dimensions, dtype: torch.dtype) -> Llama:
    """Read every `consolidated.NN.pth` of `folder` into a model of `dtype`."""
    paths = sorted(folder.glob("consolidated.*.pth"))
    shards = [torch.load(path, weights_only=True) for path in paths]
    model = Llama(dims)
    model.load_state_dict({name: join(name, shards) for name in model.state_dict()})
    return model.to(dtype).eval()


def join(name: str, shards: Sequence[dict[str, Tensor]]) -> Tensor:
    """Put one tensor together again; replicated ones are taken from the first shard."""
    axis = shard_axis(name)
    if axis is None:
        return shards[0][name]
    return torch.cat([shard[name] for shard in shards], dim=axis)


def shard_axis(name: str) -> int | None:
    """Return the axis `SHARD_AXIS` gives for a tensor's name, None when it is replicated."""
    return SHARD_AXIS.get(name.removesuffix(".weight").rpartition(".")[2])


def _widened(x: Tensor) -> Tensor:
    """Return `x` in at least float32, as Meta does inside norms, rotary and softmax."""
    return x if x.dtype == torch.float64 else x.float()
