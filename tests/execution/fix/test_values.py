"""Values on the wire and inside: exact both ways, or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.fix.values import (
    field_text,
    format_decimal,
    format_timestamp,
    parse_decimal,
    parse_int,
    parse_timestamp,
)
from tickloom.prices import NANOS


@settings(deadline=None)
@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_decimals_are_exact(nanos: int) -> None:
    """Any int64 goes out as the decimal number it is and comes back the same."""
    text = format_decimal(nanos)
    assert Decimal(text.decode()) * NANOS == nanos
    assert parse_decimal(text) == nanos


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        (b"0", 0),
        (b"00023.23", 23_230_000_000),
        (b"23.23000000000", 23_230_000_000),
        (b"-.5", -500_000_000),
        (b"5.", 5_000_000_000),
        (b"9223372036.854775807", 2**63 - 1),
    ],
)
def test_decimals_as_fix_allows_them(text: bytes, nanos: int) -> None:
    assert parse_decimal(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b".",
        b"-",
        b"+1",
        b"1e3",
        b"1_0",
        b" 1",
        b"1.0000000001",
        b"1.2.3",
        "١".encode(),
        b"9223372036.854775808",
    ],
)
def test_no_decimals(text: bytes) -> None:
    """What would be rounded or is no plain number is refused."""
    with pytest.raises(ValueError):
        parse_decimal(text)


@pytest.mark.parametrize("text", [b"", b"+1", b"1_0", b" 1", b"1.0", b"1" * 5_000])
def test_no_integers(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_int(text)


@settings(deadline=None)
@given(st.integers(0, 4_102_444_799_999))
def test_timestamps_are_exact_to_the_millisecond(ms: int) -> None:
    assert parse_timestamp(format_timestamp(ms * 1_000_000)) == ms * 1_000_000


@pytest.mark.parametrize(
    ("text", "ts"),
    [
        (b"19700101-00:00:01", 1_000_000_000),
        (b"19700101-00:00:01.5", 1_500_000_000),
        (b"19700101-00:00:01.000000007", 1_000_000_007),
        (b"20161231-23:59:60", 1_483_228_800_000_000_000),  # a leap second
    ],
)
def test_timestamps_of_any_precision(text: bytes, ts: int) -> None:
    assert parse_timestamp(text) == ts


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"20261121",
        b"20261121-22:10:00.",
        b"20261121-22:10:00,1",
        b"20260231-22:10:00",
        b"20261121-24:00:00",
    ],
)
def test_no_timestamps(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_timestamp(text)


def test_text_cannot_end_its_field() -> None:
    """An SOH in a text is no end of it; an empty one is no field."""
    assert field_text("a\x0110=000") == b"a 10=000"
    with pytest.raises(ValueError):
        field_text("")
