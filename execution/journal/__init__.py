"""Everything that happens to orders, durable before it has effect: SQLite, WAL, synchronous FULL.

An intent is committed before the order leaves, with the router's decision where it is a part of a parent;
an execution is committed, with the venue's report number and the order's new state, in one transaction,
and is unique by (destination, execution id). So after a crash at any instruction the journal tells what
may have left, and the venue tells the rest. Facts for QuestDB and Kafka are committed in the same
transaction (the outbox) and leave from there.

One thread of one process writes orders (:meth:`Journal.lock` keeps a second agent out); the outbox's
threads open the file themselves and move only their cursors.
"""

from __future__ import annotations

from execution.journal.database import SCHEMA_VERSION, Database
from execution.journal.executions import ExecutionChange, ExecutionTables
from execution.journal.marks import MarkTables
from execution.journal.orders import OrderTables
from execution.journal.outbox import OutboxTables
from execution.journal.routes import Route, RouteTables
from execution.journal.signals import SignalTables
from execution.journal.unwindings import UnwindingTables

__all__ = ["SCHEMA_VERSION", "Database", "ExecutionChange", "Journal", "Route"]


class Journal(
    SignalTables, OrderTables, RouteTables, ExecutionTables, MarkTables, UnwindingTables, OutboxTables
):
    """The order journal in one file: what is done to its tables is in this package's modules.

    Parameters
    ----------
    path : Path
        Created with its directory where it is not there.
    read_only : bool
        For a look at a journal that an agent is writing.

    Raises
    ------
    JournalError
        The file cannot be opened, is no journal, or is of another version.
    """
