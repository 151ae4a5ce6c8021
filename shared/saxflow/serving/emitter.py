"""Give out a growing text in pieces that never have to be taken back.

Held back are: what may be the beginning of a stop sequence, and U+FFFD at the end, which stands for
a character whose last bytes have not been generated yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from saxflow.errors import ProtocolError

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Emitter:
    """One answer's text on its way to a client.

    Args:
        stops: sequences before which the text ends; none of them is ever given out.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=0)
        self.text = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Take the whole text so far and return what is new and certain.

        Raises:
            ProtocolError: the text no longer begins with what was given out.
        """
        return self._advance(text, final=False)

    def finish(self, text: str) -> str:
        """Take the final text and return the rest."""
        return self._advance(text, final=True)

    def _advance(self, text: str, *, final: bool) -> str:
        if self.stopped:
            return ""
        given = len(self.text)
        if not text.startswith(self.text):
            raise ProtocolError(f"the model server took back some of {given} characters")
        end = self._stop_position(text)
        if end is not None:
            self.stopped = True
        else:
            end = len(text) if final else self._certain(text)
        new = text[given:end]
        self.text += new
        return new

    def _stop_position(self, text: str) -> int | None:
        """Return where the stop sequence starts that is complete first, however text arrives."""
        start = len(self.text)
        found = [
            (at + len(stop), at) for stop in self._stops if (at := text.find(stop, start)) >= 0
        ]
        return min(found)[1] if found else None

    def _certain(self, text: str) -> int:
        """Return how many characters can neither change nor turn out to start a stop sequence."""
        end = len(text.rstrip(REPLACEMENT))
        for length in range(min(self._longest - 1, end), 0, -1):
            tail = text[end - length : end]
            if any(stop.startswith(tail) for stop in self._stops):
                end -= length
                break
        return max(end, len(self.text))
