"""What lineage asks of other stages; whoever starts it (the command line) brings the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from execution.lineage.model import PacketLine, RuleLine, Ticks


class Unavailable(Exception):
    """A source cannot tell now. The text says why and what to do."""


class RuleSource(Protocol):
    """The text of a rule by version."""

    def rule(self, name: str, version: str, ts_signal: int) -> RuleLine:
        """The rule as it ran when it gave a signal at ``ts_signal`` (ns, own clock).

        Raises
        ------
        Unavailable
            Nobody has kept it.
        """
        ...


class TickSource(Protocol):
    """The events of a venue by ``seq``."""

    def ticks(
        self, venue: str, symbols: Sequence[str], tables: Sequence[str], first_seq: int, last_seq: int
    ) -> Ticks:
        """Events of the symbols from first_seq to last_seq, the ends and some beside them.

        Raises
        ------
        Unavailable
            The store does not answer, or has none of them.
        """
        ...


class PacketSource(Protocol):
    """The captured bytes by ``seq``."""

    def packets(self, venue: str, session: str, seqs: Sequence[int]) -> list[PacketLine]:
        """What was captured for each ``seq``; session "": of whichever session of that day.

        Raises
        ------
        Unavailable
            The capture is not there, or holds none of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to ask, each in turn until one can tell."""

    rules: Sequence[RuleSource] = ()
    ticks: Sequence[TickSource] = ()
    packets: Sequence[PacketSource] = ()
