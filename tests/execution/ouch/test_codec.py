"""OUCH 5.0 against captured messages, the specification's lengths, and itself."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.ouch import messages as m
from execution.ouch import values
from execution.ouch.codec import decode_inbound, decode_outbound, encode, pack_options, unpack_options
from tickloom.errors import DecodeError, PriceRangeError
from tickloom.prices import NANOS
from tickloom.soupbin.packets import (
    ClientHeartbeat,
    Framer,
    Packet,
    Sequenced,
    ServerHeartbeat,
    Unsequenced,
)
from tickloom.soupbin.packets import encode as encode_packet

SharedData = Callable[[str], Path]

#: What the captures hold, read by hand from their bytes.
CAPTURED: dict[str, Packet | m.Inbound | m.Outbound] = {
    "ClientHeartbeatPacket": ClientHeartbeat(),
    "ServerHeartbeatPacket": ServerHeartbeat(),
    "CancelOrderMessage": m.CancelOrder(0x00752E71, 0),
    "EnterOrderMessage": m.EnterOrder(
        user_ref_num=0x71,
        side="T",
        quantity=0xE1,
        symbol="CVLT",
        price=0x99DB8,
        time_in_force="0",
        display="Y",
        capacity="A",
        intermarket_sweep="N",
        cross_type="N",
        client_order_id="H8FUB8IV",
        appendage=(("firm", "LIME"),),
    ),
    "CanceledMessage": m.Canceled(0x0000289B4D681317, 0x00753A8D, 0x28, "U"),
    "OrderAcceptedMessage": m.Accepted(
        timestamp=0x0000289B4D64AF87,
        user_ref_num=0x00753A8D,
        side="B",
        quantity=0x28,
        symbol="ADBE",
        price=0x48E748,
        time_in_force="5",
        display="Y",
        order_reference_number=0x0F56B4F5,
        capacity="A",
        intermarket_sweep="N",
        cross_type="N",
        order_state="L",
        client_order_id="7682701",
        appendage=(("firm", "MLRO"), ("bbo_weight_indicator", "0")),
    ),
}

#: Bytes of each message without appendage, by the tables of the specification.
LENGTHS = {
    "inbound": {"O": 45, "U": 38, "X": 9, "M": 10, "C": 17, "D": 9, "E": 9, "Q": 1},
    "outbound": {
        "S": 10, "A": 62, "U": 66, "C": 18, "D": 32, "E": 34, "B": 36, "F": 49, "J": 29, "P": 13,
        "I": 13, "T": 30, "M": 18, "R": 14, "X": 25, "G": 17, "K": 17, "Q": 13,
    },
}  # fmt: skip


def tcp_payload(capture: bytes) -> bytes:
    """Of the only frame of a pcap: Ethernet (with or without a VLAN tag), IPv4, TCP. A trailer of the
    capturing switch stands behind the IP packet."""
    frame = capture[24 + 16 :]
    at = 18 if frame[12:14] == b"\x81\x00" else 14
    total = int.from_bytes(frame[at + 2 : at + 4], "big")
    header = (frame[at] & 15) * 4
    offset = (frame[at + header + 12] >> 4) * 4
    return frame[at + header + offset : at + total]


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_message(shared_data: SharedData, name: str) -> None:
    """Each captured packet is what its bytes say, and is written again byte by byte."""
    payload = tcp_payload(shared_data(f"omi_packets/ouch50/{name}.pcap").read_bytes())
    (packet,) = Framer().feed(payload)
    expected = CAPTURED[name]
    if isinstance(packet, Unsequenced):
        assert decode_inbound(packet.payload) == expected
    elif isinstance(packet, Sequenced):
        assert decode_outbound(packet.payload) == expected
    else:
        assert packet == expected
        assert encode_packet(packet) == payload
        return
    assert encode(expected) == packet.payload  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "letters"), [(m.INBOUND, LENGTHS["inbound"]), (m.OUTBOUND, LENGTHS["outbound"])]
)
def test_lengths(table: dict[str, Any], letters: dict[str, int]) -> None:
    """Every message type has the length that the specification gives it (its appendage length aside)."""
    assert set(table) == set(letters)
    for letter, cls in table.items():
        raw = encode(plain(cls))
        assert raw[:1] == letter.encode()
        assert len(raw) - 2 * (cls in m.ALWAYS_APPENDED) == letters[letter]


def plain(cls: Any) -> Any:
    """A message of zeros and blanks."""
    hints = get_type_hints(cls, include_extras=True)
    values = ["" if hints[name].__metadata__[0].endswith("s") else 0 for name in cls._fields[:-1]]
    return cls(*values)


LETTERS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=14)


@st.composite
def any_message(draw: st.DrawFn, table: dict[str, Any]) -> Any:
    cls = table[draw(st.sampled_from(sorted(table)))]
    hints = get_type_hints(cls, include_extras=True)
    drawn: list[Any] = [
        _value(draw, hints[name].__metadata__[0]) for name in cls._fields if name != "appendage"
    ]
    names = draw(st.lists(st.sampled_from(sorted(values.OPTIONS)), unique=True, max_size=5))
    return cls(*drawn, tuple((name, _value(draw, values.OPTIONS[name][1])) for name in names))


def _value(draw: st.DrawFn, code: str) -> Any:
    if code.endswith("s"):
        return draw(LETTERS)[: int(code[:-1])]
    bits = struct.calcsize(">" + code) * 8
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if code == "i" else (0, 2**bits - 1)
    return draw(st.integers(low, high))


@given(any_message(m.INBOUND))
def test_inbound_there_and_back(message: Any) -> None:
    """What is encoded is decoded as it was, options included."""
    assert decode_inbound(encode(message)) == message


@given(any_message(m.OUTBOUND))
def test_outbound_there_and_back(message: Any) -> None:
    """The same in the other direction."""
    assert decode_outbound(encode(message)) == message


@st.composite
def garbage(draw: st.DrawFn, table: dict[str, Any]) -> bytes:
    """Any bytes behind a message's letter or none, or a sound message in which some were put elsewhere."""
    if draw(st.booleans()):
        letter = draw(st.sampled_from(["", *table])).encode()
        return letter + draw(st.binary(max_size=80))
    raw = encode(draw(any_message(table)))
    at = draw(st.integers(0, len(raw)))
    return raw[:at] + draw(st.binary(max_size=4)) + raw[draw(st.integers(at, len(raw))) :]


@pytest.mark.parametrize(
    ("decode", "table"), [(decode_inbound, m.INBOUND), (decode_outbound, m.OUTBOUND)], ids=["in", "out"]
)
@given(data=st.data())
def test_any_bytes_are_a_message_or_refused(
    decode: Callable[[bytes], Any], table: dict[str, Any], data: st.DataObject
) -> None:
    """Garbage raises DecodeError, or is a message of its letter that can be sent as it was read."""
    raw = data.draw(garbage(table))
    try:
        message = decode(raw)
    except DecodeError:
        return
    assert type(message) is table[raw[:1].decode()]
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "raw", [b"", b"?", b"X", b"X" + bytes(7), b"X" + bytes(8) + b"\x00\x05", b"O" + bytes(200)]
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    """Nothing, an unknown letter, a message that is cut off, and one with an appendage of another length."""
    for decode in (decode_inbound, decode_outbound):
        with pytest.raises(DecodeError):
            decode(raw)


def test_later_revision_with_an_empty_appendage_is_read() -> None:
    """A cancel of a later revision ends with an appendage length of 0."""
    assert decode_inbound(b"X" + struct.pack(">IIH", 7, 0, 0)) == m.CancelOrder(7, 0)


def test_self_match_cancel_of_the_first_revision_is_read() -> None:
    """It has no strategy field: one byte less."""
    message = m.AiqCanceled(1, 2, 3, "Q", 4, 5, "R", "D")
    assert decode_outbound(encode(message)[:-1]) == message._replace(aiq_strategy="")


def test_unknown_option_is_passed_over() -> None:
    """A tag that a later revision adds does not disturb the others."""
    raw = bytes((3, 200, 1, 2)) + pack_options((("min_qty", 100),))
    assert unpack_options(raw) == (("min_qty", 100),)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (m.CancelOrder(-1, 0), "CancelOrder"),
        (m.CancelOrder(1, 2**32), "CancelOrder"),
        (m.MassCancel(1, "FIRMS", ""), "over 4 bytes"),
        (m.MassCancel(1, "FIRM", "Ä"), "ascii"),
        (m.AccountQuery((("colour", 1),)), "no optional field 'colour'"),
    ],
)
def test_what_does_not_fit_is_refused(message: m.Inbound, text: str) -> None:
    """Nothing is cut off in silence."""
    with pytest.raises(ValueError, match=text):
        encode(message)


def test_prices_are_exact() -> None:
    """Four decimals, no more; the limits of section 2 and one unit past each."""
    assert values.price_of(152_500_000_000) == 1_525_000
    assert values.nanos_of_price(1) == 100_000
    assert values.price_of(values.nanos_of_price(values.PRICE_MAX)) == values.PRICE_MAX
    for nanos in (0, -NANOS, 100_001, values.nanos_of_price(values.PRICE_MAX + 1)):
        with pytest.raises(PriceRangeError):
            values.price_of(nanos)


def test_option_by_name() -> None:
    """An option is found by its name; one that is not there is None."""
    message = m.AccountQuery((("user_ref_index", 3),))
    assert m.option(message, "user_ref_index") == 3
    assert m.option(message, "firm") is None
