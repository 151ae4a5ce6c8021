"""The SAX protocol in pure Python: names, discovery, and clients for real and local cells.

`Cell` is the blocking face, `AsyncCell` the asyncio core; both have the same names. What needs no
network (messages, names, servable, text) can be imported without gRPC.
"""

from __future__ import annotations
