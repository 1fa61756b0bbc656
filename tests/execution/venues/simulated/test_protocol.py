"""The gateway protocol: FIX names and values, there and back, and hostile lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.exchange.requests import CancelRequest, NewOrder, OrderType, ReplaceOrder, StatusRequest
from execution.venues import Report, ReportType
from execution.venues.simulated.protocol import (
    Heartbeat,
    Logon,
    Logout,
    Message,
    MessageReject,
    decode,
    encode,
)
from tickloom.errors import DecodeError
from tickloom.events import OrderState
from tickloom.prices import NANOS

names = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=20)
amounts = st.integers(0, 4_000_000 * NANOS)
sides = st.sampled_from(["buy", "sell"])
states = st.sampled_from([state for state in OrderState if state is not OrderState.UNKNOWN])
orders = {"order_id": names, "venue": names, "symbol": names, "side": sides}
EXECUTIONS = {ReportType.TRADE, ReportType.TRADE_CANCELLED, ReportType.TRADE_CORRECTED}
trades = st.builds(
    Report,
    report_type=st.sampled_from(sorted(EXECUTIONS)),
    **orders,
    state=states,
    filled_quantity=amounts,
    venue_order_id=names.filter(lambda name: name != "NONE"),
    execution_id=names,
    last_quantity=amounts,
    last_price=amounts,
    text=names,
    ts=st.integers(0, 2**62),
    report_seq=st.integers(0, 2**53),
    liquidity=st.sampled_from(["", "added", "removed"]),
    fee=st.integers(-NANOS, NANOS),
)
replaced = st.builds(
    Report,
    report_type=st.just(ReportType.REPLACED),
    **orders,
    state=states,
    filled_quantity=amounts,
    original_order_id=names,
    last_quantity=amounts,
    quantity=amounts,
    price=amounts,
)
others = st.builds(
    Report,
    report_type=st.sampled_from(
        [kind for kind in ReportType if kind not in {*EXECUTIONS, ReportType.REPLACED}]
    ),
    **orders,
    state=states,
    filled_quantity=amounts,
    text=names,
    unknown_order=st.booleans(),
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Logon, names, names, st.integers(0, 2**53)),
    st.just(Heartbeat()),
    st.builds(Logout, names),
    st.builds(
        NewOrder,
        **orders,
        quantity=amounts,
        price=amounts,
        time_in_force=st.sampled_from(["ioc", "day", "fok"]),
        order_type=st.sampled_from(OrderType),
        min_quantity=amounts,
        post_only=st.booleans(),
    ),
    st.builds(ReplaceOrder, original_order_id=names, **orders, quantity=amounts, price=amounts),
    st.builds(CancelRequest, **orders, quantity=amounts),
    st.builds(StatusRequest, **orders),
    st.builds(MessageReject, names),
    trades,
    replaced,
    others,
)


@given(messages)
def test_every_message_comes_back(message: Message) -> None:
    """One line out, the same message in, to the nano."""
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


def test_new_order_in_fix_terms() -> None:
    """NewOrderSingle as FIX 4.4 names and codes it: 35=D, side 54=2, limit 40=2, IOC 59=3."""
    order = NewOrder("ID", "XNAS", "ALFA", "sell", 65 * NANOS, 152_240_000_000, "ioc")
    assert json.loads(encode(order)) == {
        "MsgType": "D",
        "ClOrdID": "ID",
        "SecurityExchange": "XNAS",
        "Symbol": "ALFA",
        "Side": "2",
        "OrderQty": "65",
        "OrdType": "2",
        "Price": "152.24",
        "TimeInForce": "3",
    }


def test_report_from_fix_terms() -> None:
    """An ExecutionReport written by hand: a partial fill, possibly sent before."""
    line = (
        b'{"PossDupFlag":"Y","MsgType":"8","MsgSeqNum":"7","ClOrdID":"ID","OrderID":"X-1","ExecID":"E-9",'
        b'"ExecType":"F","OrdStatus":"1","SecurityExchange":"XNAS","Symbol":"ALFA","Side":"1",'
        b'"CumQty":"30","LastQty":"10","LastPx":"1.5","TransactTime":"99"}'
    )
    report = decode(line)
    assert report == Report(
        report_type=ReportType.TRADE,
        order_id="ID",
        venue="XNAS",
        symbol="ALFA",
        side="buy",
        state=OrderState.PARTIALLY_FILLED,
        filled_quantity=30 * NANOS,
        venue_order_id="X-1",
        execution_id="E-9",
        last_quantity=10 * NANOS,
        last_price=1_500_000_000,
        ts=99,
        report_seq=7,
    )


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (b"", "Input data was truncated"),
        (b"GET / HTTP/1.1", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"MsgType":"Z"}', "unknown MsgType 'Z'"),
        (b'{"MsgType":8}', "Expected `str`"),
        (b'{"MsgType":"H","ClOrdID":"1"}', "'SecurityExchange' is missing"),
        (b'{"MsgType":"H","ClOrdID":"1","SecurityExchange":"X","Symbol":"A","Side":"7"}', "'7' is missing"),
        (
            b'{"MsgType":"D","ClOrdID":"1","SecurityExchange":"X","Symbol":"A","Side":"1","OrdType":"3"}',
            "OrdType 3 is not supported",
        ),
        (
            b'{"MsgType":"D","ClOrdID":"1","SecurityExchange":"X","Symbol":"A","Side":"1","OrdType":"2",'
            b'"OrderQty":"1e3","Price":"1","TimeInForce":"0"}',
            "no decimal number",
        ),
    ],
)
def test_hostile_lines(line: bytes, finding: str) -> None:
    """What is no message is a DecodeError that says why."""
    with pytest.raises(DecodeError, match=finding):
        decode(line)
