"""What the IEX kernels share: counters, outputs, state between calls. Data only, no logic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.iex.iextp import NEVER
from tickloom.events import DELTA_DTYPE, GAP_DTYPE, QUOTE_DTYPE, STATUS_RAW_DTYPE, TRADE_DTYPE

MESSAGES_MAX = 1 << 15  # of one call; what they may make fits the output
SYMBOLS_MAX = 1 << 15  # of one decoder; the exchange has about 12,000
SYMBOL_SLOTS = 4 * SYMBOLS_MAX  # of the hash that finds them

#: Why the kernel came back.
DONE, FULL, OTHER_KIND, EARLY, DUE, RESTART, GROW_LEVELS = range(7)
#: ``shared``: number that is due (in this run); first one that waits; latest event time; messages in output;
#: latest send time; session, protocol (0: nothing came yet) and channel; symbols; what is added to a number;
#: stream offset that is due (-1: not known); segments in a row that were refused for their offset; whether
#: what runs had waited; whether the venue said that it ends; a session that was seen once; up to which send
#: time a segment is of the run before.
(
    EXPECTED, PENDING_FIRST, LATEST, IN_OUTPUT, LATEST_SEND, SESSION, PROTOCOL, CHANNEL, SYMBOLS, BASE,
    OFFSET, REFUSED, RELEASING, ENDED, CANDIDATE, BEFORE_SEND,
) = range(16)  # fmt: skip
#: ``place``: record; byte in it (0: before its head); messages left in it; number of the next one; where its
#: payload ends; what makes a byte in the batch a stream offset.
RECORD, AT, LEFT, NUMBER, STOP, STREAM = range(6)
#: ``used``: rows written of each output.
TRADES, QUOTES, DELTAS, STATUSES, GAPS = range(5)
#: Columns of ``marks``: the last trading status; operational halt; crossed book.
TRADING, OPERATIONAL, CROSSED = range(3)

#: Names of ``counts``; docs are in :class:`ingest.iex.decoder.IexDecoder`.
COUNTERS = (
    "decoded",
    "duplicate",
    "heartbeat",
    "malformed",
    "foreign_protocol",
    "foreign_session",
    "truncated_packet",
    "trailing_bytes",
    "offset_mismatch",
    "unknown_type",
    "wrong_length",
    "longer",
    "bad_timestamp",
    "bad_field",
    "late",
    "too_many_symbols",
    "unknown_level",
    "zero_size",
    "in_transition",
    "crossed",
    "locked",
)
(
    C_DECODED, C_DUPLICATE, C_HEARTBEAT, C_MALFORMED, C_PROTOCOL, C_SESSION, C_TRUNCATED, C_TRAILING,
    C_OFFSET, C_UNKNOWN_TYPE, C_LENGTH, C_LONGER, C_TIMESTAMP, C_FIELD, C_LATE, C_SYMBOLS, C_UNKNOWN_LEVEL,
    C_ZERO, C_TRANSITION, C_CROSSED, C_LOCKED,
) = range(len(COUNTERS))  # fmt: skip


class Output(NamedTuple):
    """Rows that a call writes; ``symbol`` holds the decoder's own number of a symbol, 0 for the venue."""

    trades: NDArray[np.void]
    quotes: NDArray[np.void]
    deltas: NDArray[np.void]
    statuses: NDArray[np.void]
    gaps: NDArray[np.void]
    used: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Output:
        return cls(
            np.empty(MESSAGES_MAX, dtype=TRADE_DTYPE),
            np.empty(MESSAGES_MAX, dtype=QUOTE_DTYPE),
            np.empty(MESSAGES_MAX, dtype=DELTA_DTYPE),
            np.empty(MESSAGES_MAX, dtype=STATUS_RAW_DTYPE),
            np.empty(MESSAGES_MAX, dtype=GAP_DTYPE),
            np.zeros(5, dtype=np.int64),
        )


class State(NamedTuple):
    """What is kept between calls.

    types: messages a type byte; slots, numbers: the hash from a symbol's 8 bytes to its number; names: the
    bytes by number; tops: bid price, bid size, ask price, ask size as last shown; marks: see above.
    """

    shared: NDArray[np.int64]
    counts: NDArray[np.int64]
    types: NDArray[np.int64]
    slots: NDArray[np.uint64]
    numbers: NDArray[np.int32]
    names: NDArray[np.uint64]
    tops: NDArray[np.int64]
    marks: NDArray[np.int8]

    @classmethod
    def fresh(cls) -> State:
        shared = np.zeros(16, dtype=np.int64)
        shared[EXPECTED], shared[PENDING_FIRST] = 1, NEVER
        return cls(
            shared,
            np.zeros(len(COUNTERS), dtype=np.int64),
            np.zeros(256, dtype=np.int64),
            np.zeros(SYMBOL_SLOTS, dtype=np.uint64),
            np.zeros(SYMBOL_SLOTS, dtype=np.int32),
            np.zeros(SYMBOLS_MAX, dtype=np.uint64),
            np.zeros((SYMBOLS_MAX, 4), dtype=np.int64),
            np.zeros((SYMBOLS_MAX, 3), dtype=np.int8),
        )
