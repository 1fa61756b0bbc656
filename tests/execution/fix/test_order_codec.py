"""The flow of orders as fields: what goes out comes back, in both versions, and the dictionary likes it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.fix.build import Builder
from execution.fix.codec import Codec, Message
from execution.fix.dictionary import DICTIONARIES
from execution.fix.order_codec import decode, encode
from execution.fix.orders import (
    BusinessMessageReject,
    ExecutionReport,
    FromClient,
    FromVenue,
    NewOrderSingle,
    OrderCancelReject,
    OrderCancelReplaceRequest,
    OrderCancelRequest,
    OrderMassStatusRequest,
    OrderStatusRequest,
)
from tickloom.clock import NS_PER_MS
from tickloom.errors import FieldError
from tickloom.prices import NANOS
from tickloom.records import replace

TS = 1_795_132_800_123 * NS_PER_MS
CODECS = {begin.decode(): Codec(dictionary) for begin, dictionary in DICTIONARIES.items()}
ORDER = NewOrderSingle("ID1", "ALFA", "1", 100 * NANOS, TS, price=10 * NANOS + NANOS // 100, venue="XNAS")
REPORT = ExecutionReport(
    order_id="V1",
    exec_id="E1",
    exec_type="F",
    ord_status="1",
    symbol="ALFA",
    side="1",
    cl_ord_id="ID1",
    venue="XNAS",
    text="für dich",
    ts=TS,
    leaves=60 * NANOS,
    filled=40 * NANOS,
    average_price=10 * NANOS,
    quantity=100 * NANOS,
    price=11 * NANOS,
    last_quantity=40 * NANOS,
    last_price=10 * NANOS,
)
MESSAGES: list[FromClient | FromVenue] = [
    ORDER,
    replace(ORDER, order_type="P", price=0, exec_inst="M", account="ACC", min_quantity=5 * NANOS),
    replace(ORDER, exec_inst="6", time_in_force="3"),
    OrderCancelRequest("ID2", "ID1", "ALFA", "1", 100 * NANOS, TS, "XNAS"),
    OrderCancelReplaceRequest("ID3", "ID1", "ALFA", "1", 50 * NANOS, TS, price=9 * NANOS),
    OrderStatusRequest("ID1", "ALFA", "2", venue="XNAS"),
    REPORT,
    REPORT._replace(exec_type="0", ord_status="0", last_quantity=0, last_price=0, filled=0),
    REPORT._replace(exec_type="4", ord_status="4", last_quantity=0, last_price=0, orig_cl_ord_id="ID0"),
    REPORT._replace(exec_type="8", ord_status="8", last_quantity=0, last_price=0, reject_reason="5"),
    REPORT._replace(exec_type="H", exec_ref_id="E0", last_quantity=0, last_price=0),
    REPORT._replace(exec_type="G", exec_ref_id="E0"),
    REPORT._replace(exec_type="I", last_quantity=0, last_price=0),
    OrderCancelReject("V1", "ID2", "ID1", "2", reason="0", text="too late", ts=TS),
    BusinessMessageReject(12, "D", 4, "closed"),
]


def through(message: FromClient | FromVenue, version: str) -> Message:
    """On the wire and off it, past the dictionary."""
    msg_type, body = encode(message, version)
    raw = Builder(version.encode(), b"US", b"THEM").build(msg_type, 1, TS, body)
    codec = CODECS[version]
    for _ in range(2):  # of an unknown shape, and of a known one
        parsed = codec.decode(raw)
        assert codec.problem(parsed) is None, parsed
    return parsed


@pytest.mark.parametrize("version", ["FIX.4.2", "FIX.4.4"])
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_out_and_back(message: FromClient | FromVenue, version: str) -> None:
    """In either version it says the same at the other end."""
    assert decode(through(message, version)) == message


def test_only_in_44() -> None:
    """Request ids, and the request for all orders; 4.2 goes without, or cannot."""
    status = OrderStatusRequest("ID1", "ALFA", "1", request_id="R1")
    answer = REPORT._replace(
        exec_type="I", request_id="R1", mass_request_id="M1", last_quantity=0, last_price=0
    )
    for message in (status, answer, OrderMassStatusRequest("M1")):
        assert decode(through(message, "FIX.4.4")) == message
    assert decode(through(status, "FIX.4.2")) == replace(status, request_id="")
    with pytest.raises(ValueError, match=r"4\.2"):
        encode(OrderMassStatusRequest("M1"), "FIX.4.2")


def test_fields_as_agreed_with_the_old_version() -> None:
    """What 4.2 calls a fill: ExecTransType 0, ExecType 1 or 2; a status: 3; a bust: 1."""
    fill = through(REPORT, "FIX.4.2")
    assert (fill[20], fill[150]) == (b"0", b"1")
    assert through(REPORT._replace(exec_type="I"), "FIX.4.2")[20] == b"3"
    assert through(REPORT._replace(exec_type="H"), "FIX.4.2")[20] == b"1"
    assert through(ORDER, "FIX.4.2")[21] == b"1"


@settings(deadline=None)
@given(quantity=st.integers(1, 2**53), price=st.integers(1, 2**53))
def test_prices_and_sizes_are_exact(quantity: int, price: int) -> None:
    order = replace(ORDER, quantity=quantity, price=price)
    assert decode(through(order, "FIX.4.4")) == order


@pytest.mark.parametrize(
    "message",
    [
        replace(ORDER, symbol="A\x0144=1"),
        replace(ORDER, cl_ord_id=""),
        replace(ORDER, account="x\x01"),
        REPORT._replace(text="a\x01150=2"),
        OrderCancelRequest("ID2", "ID1\x01", "ALFA", "1", NANOS, TS),
        OrderStatusRequest("", "ALFA", "1"),
        OrderMassStatusRequest("\x01"),
        OrderCancelReject("V1", "ID2", "ID1", "2", text="\x01"),
        BusinessMessageReject(1, "D", 4, "\x01x=1"),
    ],
)
def test_a_text_cannot_smuggle_a_field(message: FromClient | FromVenue) -> None:
    """SOH in a text, or a required text that is empty, never leaves."""
    with pytest.raises(ValueError):
        encode(message)


@pytest.mark.parametrize(
    ("msg_type", "body"),
    [
        (b"D", b"11=ID\x0140=2\x0154=1\x0155=A\x0160=20261120-00:00:00\x01"),  # no quantity
        (b"8", b"6=x\x01"),
        (b"8", b"6=1\x0158=a\x0160=never\x01"),
        (b"9", b"11=ID\x01"),
        (b"B", b"33=1\x01"),
    ],
)
def test_what_is_missing_is_named(msg_type: bytes, body: bytes) -> None:
    """Without the dictionary before it, too: FieldError, and nothing else."""
    raw = Builder(b"FIX.4.4", b"US", b"THEM").build(msg_type, 1, TS, body)
    with pytest.raises(FieldError):
        decode(CODECS["FIX.4.4"].decode(raw))
