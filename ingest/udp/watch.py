"""Which lines were heard in, which fell silent out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.capture_format import ANSWERS
from tickloom.clock import NS_PER_MS


def line_name(line: int) -> str:
    """A, B, ... as the venue calls them; ``resend`` for answers to our requests."""
    return "resend" if line == ANSWERS else chr(ord("A") + line)


@dataclass(frozen=True, slots=True)
class Silence:
    """A line has fallen silent while another goes on, or is heard again."""

    line: int
    silent: bool


class LineWatch:
    """Tells when a line falls silent while another is heard. (All silent together is a silent venue.)

    Parameters
    ----------
    count : int
        How many lines there are; those that were never heard count too.
    silent_ms : int
        Longer than the venue's heartbeats are apart: they come on every line that is alive.
    """

    def __init__(self, count: int, silent_ms: int) -> None:
        self._silent_ns = silent_ms * NS_PER_MS
        self._count = count
        self._heard_ns = dict.fromkeys(range(count), -self._silent_ns - 1)
        self.silent: set[int] = set()

    def heard(self, lines: list[int], now_ns: int) -> list[Silence]:
        """Lines that were heard at ``now_ns`` (a clock that never goes back); what has changed."""
        if self._count == 1:
            return []  # no other that goes on
        if now_ns - max(self._heard_ns.values()) > self._silent_ns:  # all were silent: no line's fault
            others = [line for line in range(self._count) if line not in self.silent]
            self._heard_ns |= dict.fromkeys(others, now_ns)
        self._heard_ns |= dict.fromkeys([line for line in lines if line < self._count], now_ns)
        latest_ns = max(self._heard_ns.values())
        silent = {line for line, at_ns in self._heard_ns.items() if latest_ns - at_ns > self._silent_ns}
        changed, self.silent = silent ^ self.silent, silent
        return [Silence(line, line in silent) for line in sorted(changed)]
