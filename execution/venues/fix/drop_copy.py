"""A drop copy: a second session on which a venue repeats every execution of ours, whoever sent the order.

It is the second source for an order whose fate the first session does not tell: what the copy says is given
to the engine as any report is, without a number of its own, and the engine drops by execution id what
it has. Nothing is ever sent on it but the session's own messages.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from execution import metrics
from execution.fix.codec import Message
from execution.fix.configuration import Rejected, SessionConfiguration
from execution.fix.connection import Connection, Initiator
from execution.fix.order_codec import decode_report
from execution.fix.session import Session
from execution.fix.store import SqliteStore
from execution.venues import Report
from execution.venues.fix import reports
from tickloom.clock import Clock
from tickloom.errors import FieldError
from tickloom.records import replace

_log = structlog.get_logger("drop_copy")


class DropCopy:
    """A drop-copy session.

    Parameters
    ----------
    venue : str
        Meant where a report names none.
    on_report : Callable[[Report], None]
        Makes a report durable before it returns; one that it raises for comes again.
    """

    def __init__(
        self,
        configuration: SessionConfiguration,
        host: str,
        port: int,
        venue: str,
        store_path: Path,
        on_report: Callable[[Report], None],
        clock: Clock,
    ) -> None:
        configuration = replace(configuration, initiator=True, app_types=frozenset({"8"}))
        self._venue, self._on_report = venue, on_report
        self._store = SqliteStore(store_path, configuration.name)
        self._connection = Connection(Session(configuration, self._store), self, clock)
        self._initiator = Initiator(self._connection, host, port)

    @property
    def connected(self) -> bool:
        return self._connection.session.logged_on

    @property
    def failure(self) -> BaseException | None:
        """What could not be recorded."""
        return self._connection.failure

    async def start(self) -> None:
        """Begin to connect, and keep connecting for ever."""
        await self._initiator.start()

    async def close(self) -> None:
        await self._initiator.close()
        self._store.close()

    # --- what the connection calls ---------------------------------------------------------------------

    def on_logged_on(self, connection: Connection, epoch: str) -> None:
        metrics.CONNECTED.labels(connection.name).set(1)

    def on_lost(self, connection: Connection, reason: str) -> None:
        metrics.CONNECTED.labels(connection.name).set(0)

    def on_rejected(self, connection: Connection, rejected: Rejected) -> None:
        """We send nothing that could be."""

    def on_message(self, connection: Connection, message: Message) -> None:
        """A copy; one of what happened, not of answers to questions.

        Raises
        ------
        FieldError
            It says what has no meaning here: an alert, and nothing is booked.
        """
        said = decode_report(message)
        if reports.is_answer(said):
            return
        try:
            report = reports.of_execution(said, self._venue, 0)
        except FieldError as error:
            metrics.ALERTS.labels("drop_copy").inc()
            _log.error("copy_not_booked", error=str(error), message=repr(message))
            raise
        self._on_report(report)
