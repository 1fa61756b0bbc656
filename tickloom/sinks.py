"""What a stage may be given to write to, so that no stage imports another: protocols only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tickloom.events import EventBlock, Execution, Order, Position, Signal

#: Anything the agent records about itself.
Fact = Signal | Order | Execution | Position


class EventSink(Protocol):
    """Takes market events in seq order and makes each of them durable once."""

    name: str

    def resume_after(self, venue: str, session: str) -> dict[str, int]:
        """Key (a table, or a topic's partition) to the last seq that is durable there.

        A key that is absent has nothing of that session yet.
        """
        ...

    def write(self, block: EventBlock, watermark_ns: int, last_seq: int) -> None:
        """Take a block of events; it may be empty, then only the watermark moves.

        Blocks until there is room; keeps trying while the server is away. Durable after ``flush``.
        """
        ...

    def flush(self) -> None:
        """Return when everything taken is durable."""
        ...

    def close(self) -> None:
        """Flush and let go of the connection."""
        ...


class FactSink(Protocol):
    """Takes the agent's facts; writing the same fact again changes nothing."""

    def write_facts(self, facts: Sequence[Fact]) -> None:
        """Durable when it returns.

        Raises
        ------
        ServiceError
            The server is away; the caller keeps the facts and tries again.
        """
        ...
