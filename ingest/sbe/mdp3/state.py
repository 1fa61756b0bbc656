"""What the MDP 3.0 kernel and decoder share: counters, outputs, instruments, books. Data only, no logic.

The constants are frozen in kernels (njit) when those are compiled.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.sbe.mdp3 import templates as t
from ingest.sbe.mdp3.packets import NEVER
from ingest.sbe.mdp3.schema import group_layout
from tickloom.events import DELTA_DTYPE, QUOTE_DTYPE, TRADE_DTYPE
from tickloom.prices import NO_PRICE

LEVELS_MAX = 32  # of a side; CME's deepest books have ten
DEPTH_DEFAULT = 10  # of an instrument that nothing has defined: that of the outright futures
ROWS_MAX = 1 << 16  # of an output, in one call
PENDING_MAX = 1 << 16  # entries that wait for snapshots; beyond it the older half goes
INSTRUMENTS_START = 256
TEMPLATES_MAX = 128

#: Why the kernel came back.
(
    DONE,
    FULL,
    OTHER_KIND,
    EARLY,
    DUE,
    GIVE_UP,
    RESTART,
    RECOVERY,
    RARE,
    MALFORMED,
    NEW,
    FIRST,
    RPT_GAP,
    CONTRADICTED,
    REFUSED,
    PENDING_FULL,
) = range(16)
#: ``shared``: MsgSeqNum that is due (0: any), first that waits, receive time at which a gap is given up,
#: latest event time, when the last packet was sent, events numbered so far, whether an event is open, dirty
#: instruments, entries that wait; of what the kernel came back for: security id, instrument, RptSeq; the last
#: packet that is missing, so that an instrument seen first behind it may have lost something; when the packet
#: before the last was sent, since one spoiled time must not judge others.
(
    EXPECTED,
    PENDING_FIRST,
    DEADLINE,
    LATEST,
    SENDING,
    NUMBERED,
    EVENT_OPEN,
    DIRTY_COUNT,
    PENDING_USED,
    AT_SECURITY,
    AT_INSTRUMENT,
    AT_RPT_SEQ,
    LOST_TO,
    SENT_BEFORE,
    SHARED,
) = range(15)
#: ``place``: record, byte of the frame in it (0: before its head), entry in that message, MsgSeqNum, sent at.
RECORD, AT, ENTRY, PACKET, SENT, PLACE = range(6)
#: Columns of an instrument. RPT_SEQ: -1 once the book was lost. LOST_AT: packet up to which updates may be
#: missing. The last four: its last quote.
(
    SECURITY_ID,
    SYMBOL,
    RPT_SEQ,
    SYNCED,
    DEPTH,
    DIRTY,
    LOST_AT,
    BID_PRICE,
    BID_SIZE,
    ASK_PRICE,
    ASK_SIZE,
    INSTRUMENT,
) = range(12)
#: Columns of an entry that waits. P_SIDE: -1 where it only counts a RptSeq, -2 where it empties the book.
P_INSTRUMENT, P_RPT_SEQ, P_SIDE, P_ACTION, P_LEVEL, P_PRICE, P_SIZE, PENDING = range(8)
ONLY_COUNTS, EMPTIES = -1, -2
#: ``used``: rows written of each output.
TRADES, QUOTES, DELTAS = range(3)

#: Names of ``counts``; docs are in :class:`ingest.sbe.mdp3.decoder.Mdp3Decoder`.
COUNTERS = (
    "decoded",
    "packets",
    "duplicate",
    "heartbeat",
    "unknown_template",
    "foreign_schema",
    "other_entry",
    "implied",
    "order_entries",
    "already_in_snapshot",
    "time_backwards",
    "bad_field",
    "crossed",
    "locked",
)
(
    C_DECODED,
    C_PACKETS,
    C_DUPLICATE,
    C_HEARTBEAT,
    C_UNKNOWN,
    C_FOREIGN,
    C_OTHER_ENTRY,
    C_IMPLIED,
    C_ORDER_ENTRIES,
    C_IN_SNAPSHOT,
    C_BACKWARDS,
    C_BAD_FIELD,
    C_CROSSED,
    C_LOCKED,
) = range(len(COUNTERS))

#: What a template is to the kernel.
UNKNOWN, BOOK, TRADE, COUNTED, PASSED, SEEN_TO, SNAPSHOTS = range(7)
#: Columns of ``LAYOUT``, one row a template: kind, bytes that an entry must have, then offsets in an entry.
#: L_ORDERS: whether order entries follow. L_LONG: sizes have 64 bits.
(
    L_KIND,
    L_NEEDED,
    L_PRICE,
    L_SIZE,
    L_LONG,
    L_SECURITY,
    L_RPT_SEQ,
    L_LEVEL,
    L_ACTION,
    L_TYPE,
    L_AGGRESSOR,
    L_TRADE_ID,
    L_ORDERS,
    LAYOUT_COLUMNS,
) = range(14)
_COLUMN_OF = {
    "MDEntryPx.mantissa": L_PRICE,
    "MDEntrySize": L_SIZE,
    "SecurityID": L_SECURITY,
    "RptSeq": L_RPT_SEQ,
    "MDPriceLevel": L_LEVEL,
    "MDUpdateAction": L_ACTION,
    "MDEntryType": L_TYPE,
    "AggressorSide": L_AGGRESSOR,
    "MDTradeEntryID": L_TRADE_ID,
}
_KINDS = {
    t.BOOK: BOOK,
    t.BOOK_LONG: BOOK,
    t.TRADE_SUMMARY: TRADE,
    t.TRADE_SUMMARY_LONG: TRADE,
    **dict.fromkeys((t.VOLUME, t.VOLUME_LONG, t.DAILY_STATISTICS, t.LIMITS_BANDING), COUNTED),
    **dict.fromkeys((t.SESSION_STATISTICS, t.SESSION_STATISTICS_LONG), COUNTED),
    **dict.fromkeys((t.HEARTBEAT, t.ORDER_BOOK), PASSED),
    **dict.fromkeys((t.CHANNEL_RESET, t.SECURITY_STATUS, t.FUTURE, t.OPTION, t.SPREAD), SEEN_TO),
    **dict.fromkeys((t.SNAPSHOT, t.SNAPSHOT_ORDER_BOOK, t.SNAPSHOT_LONG), SNAPSHOTS),
}


def _layouts() -> NDArray[np.int64]:
    table = np.full((TEMPLATES_MAX, LAYOUT_COLUMNS), -1, dtype=np.int64)
    table[:, [L_KIND, L_NEEDED, L_LONG, L_ORDERS]] = 0
    for template, kind in _KINDS.items():
        table[template, L_KIND] = kind
        if kind not in (BOOK, TRADE, COUNTED):
            continue
        layout = group_layout(template)
        wanted = {leaf.path: leaf for leaf in layout.leaves if leaf.path in _COLUMN_OF}
        for path, leaf in wanted.items():
            table[template, _COLUMN_OF[path]] = leaf.offset
        needed = tuple(wanted) if kind != COUNTED else ("SecurityID", "RptSeq")
        table[template, L_NEEDED] = layout.end_of(*needed)
        table[template, L_LONG] = "MDEntrySize" in wanted and wanted["MDEntrySize"].size == 8
        table[template, L_ORDERS] = kind in (BOOK, TRADE)
    return table


LAYOUT = _layouts()


class Output(NamedTuple):
    """Rows that a call writes, ``symbol`` already that of the symbol table."""

    trades: NDArray[np.void]
    quotes: NDArray[np.void]
    deltas: NDArray[np.void]
    used: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Output:
        return cls(
            np.zeros(ROWS_MAX, dtype=TRADE_DTYPE),
            np.zeros(ROWS_MAX, dtype=QUOTE_DTYPE),
            np.zeros(2 * ROWS_MAX, dtype=DELTA_DTYPE),
            np.zeros(3, dtype=np.int64),
        )


class State(NamedTuple):
    """What is kept between calls.

    Attributes
    ----------
    shared, counts, templates : int64
        See above; messages by template id.
    slots : int64, shape (n, 2)
        Open hash of security ids: id and instrument, -1 where free.
    instruments : int64, shape (room, INSTRUMENT)
    levels : int64, shape (room, 2, LEVELS_MAX, 2)
        Price and size of each level of the bid and the ask, best first; nanos.
    fills : int64, shape (room, 2)
        Levels of a side in use.
    dirty : int64, shape (room)
        Instruments whose book changed in the event that is open.
    pending : int64, shape (PENDING_MAX, PENDING)
        Entries that wait for a snapshot, in order.
    gone : int64, shape (LEVELS_MAX)
        Prices that an entry took out of a side; for the kernel's own use.
    """

    shared: NDArray[np.int64]
    counts: NDArray[np.int64]
    templates: NDArray[np.int64]
    slots: NDArray[np.int64]
    instruments: NDArray[np.int64]
    levels: NDArray[np.int64]
    fills: NDArray[np.int64]
    dirty: NDArray[np.int64]
    pending: NDArray[np.int64]
    gone: NDArray[np.int64]

    @classmethod
    def fresh(cls, room: int = INSTRUMENTS_START) -> State:
        shared = np.zeros(SHARED, dtype=np.int64)
        shared[PENDING_FIRST] = shared[DEADLINE] = NEVER
        return cls(
            shared,
            np.zeros(len(COUNTERS), dtype=np.int64),
            np.zeros(TEMPLATES_MAX, dtype=np.int64),
            np.full((4 * room, 2), -1, dtype=np.int64),
            np.zeros((room, INSTRUMENT), dtype=np.int64),
            np.zeros((room, 2, LEVELS_MAX, 2), dtype=np.int64),
            np.zeros((room, 2), dtype=np.int64),
            np.zeros(room, dtype=np.int64),
            np.zeros((PENDING_MAX, PENDING), dtype=np.int64),
            np.zeros(LEVELS_MAX, dtype=np.int64),
        )

    def grown(self) -> State:
        """The same with twice the room for instruments; their hash is empty, and to be filled again."""
        room = len(self.instruments)

        def doubled(array: NDArray[np.int64]) -> NDArray[np.int64]:
            return np.concatenate([array, np.zeros_like(array)])

        return self._replace(
            slots=np.full((8 * room, 2), -1, dtype=np.int64),
            instruments=doubled(self.instruments),
            levels=doubled(self.levels),
            fills=doubled(self.fills),
            dirty=doubled(self.dirty),
        )


def forget_quote(instrument: NDArray[np.int64]) -> None:
    """The next top of the book is news, whatever it is."""
    instrument[[BID_PRICE, BID_SIZE, ASK_PRICE, ASK_SIZE]] = NO_PRICE, -1, NO_PRICE, -1
