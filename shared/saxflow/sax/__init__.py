"""The SAX protocol in pure Python: names, discovery, and clients for real and local cells.

    from saxflow.sax import Cell

    with Cell.open("gs://cells/llama/sax-root", "/sax/test") as cell:
        print(cell.model("/sax/test/llama27b").generate("Hello"))

`Cell` waits, `AsyncCell` is for asyncio; both have the same methods.
"""

from __future__ import annotations

from saxflow.sax.aio import AsyncCell, AsyncModel, AsyncModelet
from saxflow.sax.blocking import Cell, LanguageModel, Modelet
from saxflow.sax.values import Generated, Model, ModelStatus, PublishedModel, ServerStat

__all__ = [
    "AsyncCell",
    "AsyncModel",
    "AsyncModelet",
    "Cell",
    "Generated",
    "LanguageModel",
    "Model",
    "ModelStatus",
    "Modelet",
    "PublishedModel",
    "ServerStat",
]
