"""What is known of an order's origin, as values; their JSON is what ``tickloom explain --json`` prints.

Times: ns since the epoch, UTC. Prices, quantities and money: exact decimal text, because a JSON number is a
double in most readers. A key that is here stays, with its meaning, as long as ``SCHEMA_VERSION`` is the same;
keys may be added.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SCHEMA_VERSION = 1

ClockName = Literal["venue", "own"]


class Change(msgspec.Struct, frozen=True):
    """One state that the order was in; ``filled_quantity`` by then."""

    revision: int
    state: str
    filled_quantity: str
    reason: str
    ts: int


class OrderLine(msgspec.Struct, frozen=True):
    """An order as it is now. ``destination``: where it went; ``venue``: whose instrument it is."""

    order_id: str
    parent_id: str
    leg: int
    rule: str
    venue: str
    destination: str
    symbol: str
    side: str
    quantity: str
    limit_price: str
    order_type: str
    time_in_force: str
    state: str
    filled_quantity: str
    average_price: str
    venue_order_id: str
    original_order_id: str
    reason: str
    sent: bool
    ts_created: int
    ts: int


class Made(msgspec.Struct, frozen=True):
    """A child that a decision made; ``refused``: why the gate did not let it leave, empty if it did."""

    order_id: str
    refused: str


class Decision(msgspec.Struct, frozen=True):
    """A router's decision over the parent. ``done``: nothing more was to be tried. ``cancel``: ids of
    children to be taken back. ``record``: what the router saw and expected, as it wrote it down."""

    number: int
    ts: int
    why: str
    done: bool
    made: list[Made]
    cancel: list[str]
    record: Any


class CheckLine(msgspec.Struct, frozen=True):
    """One pre-trade check. value, limit: in the check's unit (ns, nanos, 1e-8, or a count); shown: both as
    people write them."""

    check: str
    level: str
    unit: str
    value: int
    limit: int
    passed: bool
    shown: str


class VerdictLine(msgspec.Struct, frozen=True):
    """What the gate measured. ``refused``: the check and level that refused, or none. revision, digest: of
    the limits file in force."""

    ts: int
    limits_revision: int
    limits_digest: str
    refused: list[str] | None
    checks: list[CheckLine]


class SignalLine(msgspec.Struct, frozen=True):
    """The signal as it came. ``ts``: when the agent journaled it; ``accepted`` or ``refused`` then, and
    why."""

    signal_id: str
    rule: str
    version: str
    venue: str
    symbol: str
    side: str
    strength: float
    ref_price: float
    first_seq: int
    last_seq: int
    ts_event: int
    ts_signal: int
    ts: int
    verdict: str
    reason: str


class RuleLine(msgspec.Struct, frozen=True):
    """The rule at the signal's version. ``source``: ``submitted`` (the text that was kept when it was
    submitted) or ``file`` (the rule's file as it is today). parameters: by set, with overrides."""

    name: str
    version: str
    about: str
    source: Literal["submitted", "file"]
    text_hash: str
    text: str
    parameters: dict[str, dict[str, str]]
    overrides: dict[str, str]
    reads: list[str]
    engine: str = ""
    job_id: str = ""
    submitted_ns: int = 0


class TickLine(msgspec.Struct, frozen=True):
    """A stored event between the first and the last row of the match. ``part``: ``first``, ``last`` (the rows
    the signal names) or ``between``. values: of its table's own columns, empty text for NULL."""

    table: str
    session: str
    symbol: str
    seq: int
    ts_event: int
    ts_recv: int
    part: Literal["first", "between", "last"]
    values: dict[str, str]


class Ticks(msgspec.Struct, frozen=True):
    """Rows of the matched symbols. counts: by table, of all; rows: the ends, and so many beside them as were
    asked for. ``source``: ``questdb`` or ``capture`` (decoded again)."""

    source: Literal["questdb", "capture"]
    counts: dict[str, int]
    rows: list[TickLine]


class PacketLine(msgspec.Struct, frozen=True):
    """The captured bytes of one ``seq``. offset: of the record in its segment; message_offset: of the message
    in the record's payload. record, message: hexadecimal. fields: the message decoded, as on the wire."""

    seq: int
    source_seq: int
    segment: str
    record: int
    offset: int
    ts_recv: int
    protocol: str
    message_offset: int
    message: str
    payload_bytes: int
    payload: str
    message_type: str
    fields: dict[str, str]


class FillLine(msgspec.Struct, frozen=True):
    """An execution. ts: the venue's clock; ts_recv: ours. changed: a bust or correction, in words."""

    execution_id: str
    order_id: str
    destination: str
    price: str
    quantity: str
    fee: str
    liquidity: str
    ts: int
    ts_recv: int
    changed: str = ""


class PositionLine(msgspec.Struct, frozen=True):
    """The firm's position in the instrument before the order's first execution and after its last."""

    venue: str
    symbol: str
    before: str
    after: str
    average_price: str
    realised: str


class Step(msgspec.Struct, frozen=True):
    """A step of the way. clock: whose it is, ``venue`` or ``own``; after_ns: since the step before it on the
    same clock, none for the first."""

    name: str
    ts: int
    clock: ClockName
    after_ns: int | None
    text: str


class Action(msgspec.Struct, frozen=True):
    """What a breach plan, or a person, did that led to this order."""

    ts: int
    action: str
    who: str
    why: str


class Missing(msgspec.Struct, frozen=True):
    """A part that could not be told, and why, with what to do."""

    what: str
    why: str


class Lineage(msgspec.Struct, frozen=True):
    """Everything. ``legs``: the other orders of the same signal; ``children``: of the parent (or of the order
    itself, if it is one), this order among them."""

    schema_version: int
    asked: str
    order: OrderLine
    history: list[Change]
    parent: OrderLine | None
    children: list[OrderLine]
    legs: list[OrderLine]
    routes: list[Decision]
    verdict: VerdictLine | None
    parent_verdict: VerdictLine | None
    signal: SignalLine | None
    actions: list[Action]
    rule: RuleLine | None
    ticks: Ticks | None
    packets: list[PacketLine]
    executions: list[FillLine]
    steps: list[Step]
    position: PositionLine | None
    missing: list[Missing]
