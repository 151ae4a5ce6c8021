"""The HTTP faces of a model: the tutorial's POST /generate and OpenAI's API over SAX."""

from __future__ import annotations
