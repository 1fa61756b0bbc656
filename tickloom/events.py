"""The facts that flow through Tickloom: market events in columns, and single facts at the edges.

Inside, events are numpy structured arrays, one a kind, with symbols as indices into a
:class:`SymbolTable`; Numba kernels, the wire codec and the QuestDB writer work on these. At the
edges (a signal, an order, an execution) a fact is a frozen dataclass. A correction is a new event.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum, StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from tickloom.rows import picked

SEQ_PER_DAY = 10**10  # source messages a venue may send in a session


class Side(IntEnum):
    """Of an aggressor (trade) or of a book level. The texts are what SQL users see."""

    NONE = 0
    BUY = 1
    SELL = 2


SIDE_TEXTS = ("none", "buy", "sell")


class Condition(IntEnum):
    """How a trade came about."""

    REGULAR = 0
    HIDDEN = 1  # against an order that was not displayed (ITCH P)
    CROSS = 2  # an auction (ITCH Q)
    BROKEN = 3  # a trade taken back (ITCH B): venue_id names it


CONDITION_TEXTS = ("regular", "hidden", "cross", "broken")


class StatusCode(IntEnum):
    """State of an instrument, or of the whole venue where the symbol is empty."""

    OTHER = 0
    TRADING = 1
    HALTED = 2
    PAUSED = 3
    QUOTATION_ONLY = 4
    SESSION_START = 5
    SYSTEM_HOURS_START = 6
    MARKET_OPEN = 7
    MARKET_CLOSE = 8
    SYSTEM_HOURS_END = 9
    SESSION_END = 10
    BOOK_SYNCED = 11  # the book was rebuilt from a snapshot and is trusted
    BOOK_LOST = 12  # the book is not trusted until it is synced again
    SHORT_SALE_RESTRICTED = 13
    SHORT_SALE_FREE = 14


STATUS_TEXTS = tuple(code.name.lower() for code in StatusCode)


class GapReason(IntEnum):
    """Why messages are missing."""

    SEQUENCE = 0  # numbers were skipped and nobody could resend them
    DISCONNECT = 1  # the connection was down; how much is missing is not known
    MALFORMED = 2  # something came that could not be decoded
    BOOK = 3  # the book contradicted itself (crossed, unknown level or order)


GAP_TEXTS = tuple(code.name.lower() for code in GapReason)


class SpreadState(IntEnum):
    """Whether a pair's spread is one to trade on."""

    GOOD = 0
    HALTED = 1  # a leg is halted, or the venue is closed
    UNTRUSTED = 2  # a leg's book was lost, or has a gap behind it


SPREAD_STATE_TEXTS = tuple(code.name.lower() for code in SpreadState)


class TrustState(IntEnum):
    """How far the data of an instrument, or of the venue's line, can be trusted; the worse counts."""

    TRUSTED = 0
    STALE = 1  # nothing came for longer than its limit
    BROKEN = 2  # what is known of it may be wrong


TRUST_TEXTS = tuple(code.name.lower() for code in TrustState)


class TrustReason(IntEnum):
    """Why the trust in an instrument, or in the venue's line, changed."""

    HEARD = 0  # something came: the first of it, or the first after a silence
    SILENT = 1  # nothing came
    UNSYNCED = 2  # its book has not been built yet
    SEQUENCE = 3  # messages are missing for good
    DISCONNECT = 4  # the connection was lost
    MALFORMED = 5  # something came that could not be decoded
    BOOK = 6  # the book contradicted itself or the venue's checksum
    CROSSED = 7
    SYNCED = 8  # the book is whole again
    REQUOTED = 9  # a quote behind what is missing says what the book is
    MISSING = 10  # messages are missing so far, and asked for or waited for
    REPAIRED = 11  # all that were missing have come
    GIVEN_UP = 12  # they did not come; the line goes on without them
    PROVEN = 13  # trades behind what is missing show that the best quote is right
    UNPROVEN = 14  # the best quote is back at a price at which something may be missing


TRUST_REASON_TEXTS = tuple(code.name.lower() for code in TrustReason)

_HEAD = [("ts_event", "<i8"), ("ts_recv", "<i8"), ("seq", "<i8"), ("symbol", "<i4")]

#: Executed trades. price, size: nanos. venue_id: the venue's own trade id (0: none).
TRADE_DTYPE = np.dtype(
    [*_HEAD, ("price", "<i8"), ("size", "<i8"), ("venue_id", "<i8"), ("side", "<i1"), ("condition", "<i1")]
)
#: Best bid and offer after the message. Prices and sizes: nanos; NO_PRICE and 0 on an empty side.
QUOTE_DTYPE = np.dtype(
    [
        *_HEAD,
        ("bid_price", "<i8"),
        ("bid_size", "<i8"),
        ("ask_price", "<i8"),
        ("ask_size", "<i8"),
        ("venue_id", "<i8"),
    ]
)
#: A price level's new total size (0: gone). side BUY is the bid. venue_id: update id or order reference.
DELTA_DTYPE = np.dtype([*_HEAD, ("price", "<i8"), ("size", "<i8"), ("venue_id", "<i8"), ("side", "<i1")])
#: status: StatusCode; reason: the venue's own code, at most 8 ASCII bytes.
STATUS_DTYPE = np.dtype([*_HEAD, ("status", "<i1"), ("reason", "S8")])
#: The same bytes as a kernel writes them: the reason as a number.
STATUS_RAW_DTYPE = np.dtype([*_HEAD, ("status", "<i1"), ("reason", "<u8")])
#: Source messages first_missing to last_missing (inclusive; source numbers, not seq) never came.
GAP_DTYPE = np.dtype([*_HEAD, ("first_missing", "<i8"), ("last_missing", "<i8"), ("reason", "<i1")])
#: Spread of a pair (``symbol``) after a quote of a leg, whose times and seq it has. Prices are facts, these
#: are computed: plain doubles in the quote currency, NaN where SQL has NULL. z: by the calibration of that
#: version; z_rolling: by exponentially weighted mean and deviation; age_ns: of the other leg's quote.
SPREAD_DTYPE = np.dtype(
    [
        *_HEAD,
        ("spread", "<f8"),
        ("z", "<f8"),
        ("z_rolling", "<f8"),
        ("mid_a", "<f8"),
        ("mid_b", "<f8"),
        ("age_ns", "<i8"),
        ("calibration", "<i8"),
        ("state", "<i1"),
    ]
)
#: A story about an instrument: ``venue`` and ``symbol`` are the instrument's, both empty where the story
#: names none. ts_event: when its score was there; ts_recv: when its document came; published: what the source
#: says (ns, 0: nothing). score: -1 to 1, NaN without one; words: of the lexicon that were found. Texts are
#: UTF-8, cut to their field; story: 32 hexadecimal digits.
NEWS_DTYPE = np.dtype(
    [
        *_HEAD,
        ("venue", "S16"),
        ("source", "S32"),
        ("story", "S32"),
        ("headline", "S400"),
        ("link", "S400"),
        ("model", "S48"),
        ("published", "<i8"),
        ("words", "<i8"),
        ("score", "<f8"),
    ]
)
#: A change of trust, decided by the capture alone (``ingest.trust``); symbol "" is the venue's line. Times
#: are those of the receive clock: ts_event, since when it holds; ts_recv, when it could be known. seq: the
#: day, and which change of the session it is; at_seq: the last event decoded when it was decided.
#: first_missing, last_missing: as in a gap, where one is the reason; else 0.
TRUST_DTYPE = np.dtype(
    [
        *_HEAD,
        ("first_missing", "<i8"),
        ("last_missing", "<i8"),
        ("at_seq", "<i8"),
        ("state", "<i1"),
        ("reason", "<i1"),
    ]
)

Records = NDArray[np.void]


class SymbolTable:
    """Names and their indices. Grows only; index 0 is the empty name (the venue as a whole)."""

    def __init__(self, names: list[str] | None = None) -> None:
        self.names: list[str] = [""]
        self._index: dict[str, int] = {"": 0}
        for name in names or []:
            self.index(name)

    def index(self, name: str) -> int:
        """Index of ``name``, which is added where it is new."""
        found = self._index.get(name)
        if found is None:
            found = self._index[name] = len(self.names)
            self.names.append(name)
        return found

    def __len__(self) -> int:
        return len(self.names)


def empty(dtype: np.dtype[np.void]) -> Records:
    """No records of that kind."""
    return np.empty(0, dtype=dtype)


#: Table to field of a block, where they differ.
FIELD_OF_TABLE = {"book_deltas": "deltas"}
# All blocks share them: live there are a thousand blocks a second, with two kinds of eight in each.
_TRADES, _QUOTES, _DELTAS, _STATUSES, _GAPS, _SPREADS, _NEWS, _TRUST = map(
    empty,
    (
        TRADE_DTYPE,
        QUOTE_DTYPE,
        DELTA_DTYPE,
        STATUS_DTYPE,
        GAP_DTYPE,
        SPREAD_DTYPE,
        NEWS_DTYPE,
        TRUST_DTYPE,
    ),
)


@dataclass(slots=True)
class EventBlock:
    """Some consecutive events of one venue and session, one structured array a kind, in seq order.

    A block has what a venue sent (:meth:`kinds`) and what an ingester makes of it (``trust``), or
    ``spreads``, which were computed from it; and ``news`` of its instruments, where a rule reads both.
    """

    venue: str
    session: str
    symbols: SymbolTable
    trades: Records = field(default_factory=lambda: _TRADES)
    quotes: Records = field(default_factory=lambda: _QUOTES)
    deltas: Records = field(default_factory=lambda: _DELTAS)
    statuses: Records = field(default_factory=lambda: _STATUSES)
    gaps: Records = field(default_factory=lambda: _GAPS)
    spreads: Records = field(default_factory=lambda: _SPREADS)
    news: Records = field(default_factory=lambda: _NEWS)
    trust: Records = field(default_factory=lambda: _TRUST)

    def kinds(self) -> dict[str, Records]:
        """Table name to records of what a venue sent, in a fixed order."""
        return {
            "trades": self.trades,
            "quotes": self.quotes,
            "book_deltas": self.deltas,
            "statuses": self.statuses,
            "gaps": self.gaps,
        }

    def every_kind(self) -> dict[str, Records]:
        """:meth:`kinds`, and what is beside them."""
        return {**self.kinds(), "spreads": self.spreads, "news": self.news, "trust": self.trust}

    def __len__(self) -> int:
        sent = len(self.trades) + len(self.quotes) + len(self.deltas) + len(self.statuses) + len(self.gaps)
        return sent + len(self.spreads) + len(self.news) + len(self.trust)

    def select(self, keep: dict[str, NDArray[np.bool_]]) -> EventBlock:
        """The events for which the mask of their kind is true; kinds without a mask are dropped."""
        kinds = self.every_kind()
        chosen = {name: picked(kinds[name], mask) for name, mask in keep.items()}
        return EventBlock(
            self.venue,
            self.session,
            self.symbols,
            **{FIELD_OF_TABLE.get(name, name): records for name, records in chosen.items()},
        )


@dataclass(slots=True)
class NewsBlock(EventBlock):
    """Stories as a news feed gives them: its one kind is ``news``."""

    def kinds(self) -> dict[str, Records]:
        """The stories, under their table's name."""
        return {"news": self.news}


def make_seq(session_date: date, source_seq: int) -> int:
    """``seq`` of a source message: yymmdd followed by ten digits of the source's own number.

    It orders a session, is unique over days, stays below 2**53 (so JSON and spreadsheets show it
    whole) until 2090, and a reader sees day and message in it: 2611210000012345.
    """
    if not 0 <= source_seq < SEQ_PER_DAY:
        raise ValueError(f"source sequence {source_seq} does not fit ten digits")
    return seq_base(session_date) + source_seq


def seq_base(session_date: date) -> int:
    """What to add to a source number of that day."""
    day = (session_date.year % 100) * 10_000 + session_date.month * 100 + session_date.day
    return day * SEQ_PER_DAY


def source_seq(seq: int) -> int:
    """The source's own message number inside a ``seq``."""
    return seq % SEQ_PER_DAY


class Signal(msgspec.Struct, frozen=True, gc=False):
    """A rule fired. Times in ns, prices as doubles as the rule saw them.

    A Struct, because it is made and written as JSON in 1 microsecond, a frozen dataclass in 4: a rule may
    raise many thousands in a second.
    """

    signal_id: str
    rule: str
    version: str
    symbol: str
    side: str
    strength: float
    ref_price: float
    first_seq: int
    last_seq: int
    venue: str
    ts_event: int
    ts_signal: int


def signal_id(rule: str, version: str, symbol: str, first_seq: int, last_seq: int) -> str:
    """Identity of a signal: the same rule over the same ticks gives the same id on every engine."""
    return hashlib.sha256(f"{rule}|{version}|{symbol}|{first_seq}|{last_seq}".encode()).hexdigest()


class OrderState(StrEnum):
    """OrdStatus (FIX 4.4, tag 39), and UNKNOWN for an order whose fate is not known."""

    PENDING_NEW = "pending_new"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    DONE_FOR_DAY = "done_for_day"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    CANCELLED = "cancelled"
    REPLACED = "replaced"
    REJECTED = "rejected"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


class Order(msgspec.Struct, frozen=True, gc=False):
    """One revision of an order. quantity, prices: nanos. ``revision`` counts state changes from 0.

    ``venue``: whose instrument it is. ``destination`` (ExDestination, FIX tag 100): where it goes, if that is
    elsewhere. ``parent_id``: the order that it is a part of; a parent itself goes nowhere.
    """

    order_id: str
    signal_id: str
    rule: str
    venue: str
    symbol: str
    side: str
    quantity: int
    limit_price: int
    state: OrderState
    filled_quantity: int
    average_price: int
    reason: str
    ts: int
    revision: int
    parent_id: str = ""
    destination: str = ""


class Execution(msgspec.Struct, frozen=True, gc=False):
    """One fill. price, quantity, fee: nanos; a fee below 0 is a rebate.

    ``execution_id`` is unique among those of the ``destination`` that reported it (empty: the ``venue``,
    whose instrument it is). ``liquidity``: "added", "removed" or empty. The same execution with another
    quantity and price is a correction; with quantity 0 it was taken back.
    """

    execution_id: str
    order_id: str
    venue: str
    symbol: str
    side: str
    price: int
    quantity: int
    ts: int
    ts_recv: int
    destination: str = ""
    fee: int = 0
    liquidity: str = ""

    @property
    def reported_by(self) -> str:
        """The destination, or the venue itself."""
        return self.destination or self.venue


class Position(msgspec.Struct, frozen=True, gc=False):
    """What is held of an instrument. quantity signed, nanos; P&L in nanos of the quote currency."""

    venue: str
    symbol: str
    quantity: int
    average_price: int
    realised_pnl: int
    unrealised_pnl: int
    mid: int
    ts: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a calibration found out about a pair, over bars up to ``ts``. NaN: not looked at any more.

    Attributes
    ----------
    ts, sample_from : int
        End and beginning of the sample, ns. Before ``ts`` it knows the future.
    bar_s : float
        Length of a bar, seconds.
    admitted : bool
        Whether the pair may be traded on it; else ``refused`` says why not.
    hedge_ratio, mean, deviation : float
        ``leg_a - hedge_ratio * leg_b`` is ``mean`` with standard deviation ``deviation``, quote currency.
    statistic, p_value, q_value : float
        Engle-Granger's test; q_value: p-value after correction for all pairs that were tested with it.
    ar_coefficient, half_life_s : float
        Of the spread as AR(1).
    johansen_hedge_ratio : float
        The same ratio by Johansen's method: far from ``hedge_ratio``, neither is to be trusted.
    leg_a_p_value, leg_b_p_value : float
        Of the test that a leg's price by itself has a unit root; small: it has none, and the test of the
        pair means nothing.
    observations : int
        Bars that both legs have. coverage: their share of all bars of the sample.
    """

    ts: int
    sample_from: int
    bar_s: float
    venue: str
    symbol: str
    leg_a: str
    leg_b: str
    method: str
    admitted: bool
    refused: str
    hedge_ratio: float
    mean: float
    deviation: float
    statistic: float
    p_value: float
    q_value: float
    ar_coefficient: float
    half_life_s: float
    johansen_hedge_ratio: float
    leg_a_p_value: float
    leg_b_p_value: float
    observations: int
    coverage: float
