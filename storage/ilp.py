"""Prepared rows in, acknowledged rows out: one ILP-over-HTTP sender that outlives its server.

A request holds rows of one table, so QuestDB commits all of it or nothing; the buffer is kept until
it is acknowledged. A request whose answer was lost is sent again, and the tables' DEDUP keys make
the second time change nothing. Acknowledged means: in the table's write-ahead log, which survives
the server's process (not a power cut: QuestDB does not fsync by default).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import Counter
from questdb import Protocol, QuestDBError, QuestDBErrorCode, Sender

from storage.connection import away
from tickloom.errors import ServiceError, StorageError
from tickloom.settings import QuestDbSettings

PROTOCOL_VERSION = 2  # the first with nanoseconds in every timestamp column and binary doubles
REQUEST_TIMEOUT_MS = 30_000  # for a request that hangs, not for a slow disk
BACKOFF_S_FIRST = 0.1
BACKOFF_S_MAX = 5.0
BUFFER_BYTES_MAX = 256 << 20

RETRIES = Counter("tickloom_questdb_retries", "Requests that had to be sent again.", ["table"])

log = structlog.get_logger(__name__)

Fill = Callable[[Any], None]
"""Puts rows into the ``questdb`` buffer that it is given."""


class IlpSender:
    """Sends buffers to QuestDB. Not for several threads at once.

    Parameters
    ----------
    stop : threading.Event, optional
        Ends a retry that is under way with a ServiceError.
    """

    def __init__(self, settings: QuestDbSettings, stop: threading.Event | None = None) -> None:
        self._settings = settings
        self._stop = stop or threading.Event()
        self._sender: Any = None

    def send(self, table: str, fill: Fill, rows: int, *, retry: bool = True) -> None:
        """Return when QuestDB has acknowledged the rows that ``fill`` puts into the buffer.

        Parameters
        ----------
        rows : int
            How many those are; for the log.
        retry : bool
            Keep trying while the server is away (with backoff up to BACKOFF_S_MAX), or raise at once.

        Raises
        ------
        StorageError
            QuestDB refuses the rows; trying again would not help.
        ServiceError
            It is away and ``retry`` is off or ``stop`` was set; or it does not accept the password.
        """
        buffer = self._open().new_buffer()
        fill(buffer)
        backoff_s, attempts = BACKOFF_S_FIRST, 0
        while True:
            try:
                self._open().flush(buffer, clear=False, transactional=True)
            except QuestDBError as error:
                self.close()
                failure = self._permanent(table, error)
                if failure is not None:
                    raise failure from None
                attempts += 1
                RETRIES.labels(table).inc()
                if not retry or self._stop.is_set():
                    raise away(self._settings, error) from None
                log.warning(
                    "questdb is away; keeping the rows and trying again",
                    table=table,
                    rows=rows,
                    attempt=attempts,
                    next_try_s=round(backoff_s, 1),
                    error=str(error),
                )
                self._stop.wait(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
            else:
                if attempts:
                    log.info("questdb is back", table=table, rows=rows, attempts=attempts + 1)
                return

    def close(self) -> None:
        """Let go of the connection; the next ``send`` opens another."""
        if self._sender is not None:
            self._sender.close(flush=False)
            self._sender = None

    def _open(self) -> Any:
        if self._sender is None:
            sender = Sender(
                Protocol.Http,
                self._settings.host,
                self._settings.http_port,
                username=self._settings.user,
                password=self._settings.password(),
                auto_flush=False,
                retry_timeout=0,  # retries are ours: they are logged and can be stopped
                request_timeout=REQUEST_TIMEOUT_MS,
                protocol_version=PROTOCOL_VERSION,
                max_buf_size=BUFFER_BYTES_MAX,
            )
            sender.establish()
            self._sender = sender
        return self._sender

    def _permanent(self, table: str, error: QuestDBError) -> StorageError | ServiceError | None:
        text = str(error)
        if error.code in (QuestDBErrorCode.SocketError, QuestDBErrorCode.CouldNotResolveAddr):
            return None
        if error.code is QuestDBErrorCode.AuthError:
            return away(self._settings, RuntimeError("401"))
        if error.code is QuestDBErrorCode.ServerFlushError and '"code":"invalid"' not in text:
            return None  # an internal error of the server: out of space, shutting down, suspended
        return StorageError(
            f"QuestDB refuses rows for {table}: {text}. Is the schema applied and unchanged? See "
            "`tickloom schema status`."
        )
