"""What the ITCH kernels share: counters, outputs, state between calls. Data only, no logic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.itch.moldudp64 import NEVER, SESSION_BYTES
from tickloom.events import DELTA_DTYPE, GAP_DTYPE, QUOTE_DTYPE, STATUS_RAW_DTYPE, TRADE_DTYPE

MESSAGES_MAX = 1 << 17  # of one call; what they may make fits the output

#: Why the kernel came back.
DONE, FULL, OTHER_KIND, EARLY, DUE, FOREIGN, GROW_ORDERS, GROW_LEVELS = range(8)
#: ``shared``: sequence number that is due, first one that waits, latest timestamp, messages in output.
EXPECTED, PENDING_FIRST, LATEST, IN_OUTPUT = range(4)
#: ``place``: record, byte in it (0: before its head), messages left in it, number of the next one.
RECORD, AT, LEFT, NUMBER = range(4)
#: ``used``: rows written of each output.
TRADES, QUOTES, DELTAS, STATUSES, GAPS, LOCATES_NEW = range(6)

#: Names of ``counts``; docs are in :class:`ingest.itch.decoder.ItchDecoder`.
COUNTERS = (
    "decoded",
    "duplicate",
    "heartbeat",
    "malformed",
    "truncated_packet",
    "trailing_bytes",
    "unknown_type",
    "wrong_length",
    "bad_timestamp",
    "bad_field",
    "time_backwards",
    "unknown_locate",
    "locate_mismatch",
    "unknown_order",
    "duplicate_order",
    "overfill",
    "zero_size",
    "refused_size",
    "non_printable",
    "empty_cross",
    "crossed",
    "locked",
)
(
    C_DECODED,
    C_DUPLICATE,
    C_HEARTBEAT,
    C_MALFORMED,
    C_TRUNCATED,
    C_TRAILING,
    C_UNKNOWN_TYPE,
    C_LENGTH,
    C_TIMESTAMP,
    C_FIELD,
    C_BACKWARDS,
    C_LOCATE,
    C_MISMATCH,
    C_UNKNOWN,
    C_DUPLICATE_ORDER,
    C_OVERFILL,
    C_ZERO,
    C_SIZE,
    C_NON_PRINTABLE,
    C_EMPTY_CROSS,
    C_CROSSED,
    C_LOCKED,
) = range(len(COUNTERS))


class Output(NamedTuple):
    """Rows that a call writes; ``symbol`` holds the stock locate. new_locates: in order of sight."""

    trades: NDArray[np.void]
    quotes: NDArray[np.void]
    deltas: NDArray[np.void]
    statuses: NDArray[np.void]
    gaps: NDArray[np.void]
    new_locates: NDArray[np.int64]
    used: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Output:
        return cls(
            np.empty(MESSAGES_MAX, dtype=TRADE_DTYPE),
            np.empty(MESSAGES_MAX, dtype=QUOTE_DTYPE),
            np.empty(2 * MESSAGES_MAX, dtype=DELTA_DTYPE),
            np.empty(MESSAGES_MAX, dtype=STATUS_RAW_DTYPE),
            np.empty(MESSAGES_MAX, dtype=GAP_DTYPE),
            np.empty(MESSAGES_MAX, dtype=np.int64),
            np.zeros(6, dtype=np.int64),
        )


class State(NamedTuple):
    """What is kept between calls. stocks: the 8 bytes of each locate's name as a number, 0 for none."""

    session: NDArray[np.uint8]
    shared: NDArray[np.int64]
    counts: NDArray[np.int64]
    types: NDArray[np.int64]
    stocks: NDArray[np.uint64]

    @classmethod
    def fresh(cls) -> State:
        shared = np.array([1, NEVER, 0, 0], dtype=np.int64)
        return cls(
            np.zeros(SESSION_BYTES, dtype=np.uint8),
            shared,
            np.zeros(len(COUNTERS), dtype=np.int64),
            np.zeros(256, dtype=np.int64),
            np.zeros(65_536, dtype=np.uint64),
        )
