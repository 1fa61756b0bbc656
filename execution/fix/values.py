"""A FIX field's value, bytes on the wire, to and from the type it has inside; and whether it is one. Pure.

Data types: FIX 4.4 with Errata 20030618, Volume 1, "Data Types". Prices and quantities are decimal text
on the wire and int64 nanos inside, exactly: no float in between. Times are ns since the epoch, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.prices import NANOS, NANOS_MAX

SOH = b"\x01"

SECONDS_MAX = 256  # a second takes 1.5 us to convert, and its messages come thousands at a time

_POWERS: tuple[int, ...] = tuple(10 ** (9 - places) for places in range(10))
_INTEGER = re.compile(rb"-?[0-9]{1,18}")
_DECIMAL = re.compile(rb"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_DATE = rb"[0-9]{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
_TIME = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?"
_TIMESTAMP = re.compile(_DATE + b"-" + _TIME)
_Matcher = Callable[[bytes], object]

#: By FIX data type, what matches the whole of a value; a type that is not here takes any text.
FORMATS: dict[str, _Matcher] = {
    **dict.fromkeys(("INT", "SEQNUM", "LENGTH", "NUMINGROUP"), _INTEGER.fullmatch),
    **dict.fromkeys(("PRICE", "QTY", "AMT", "FLOAT", "PERCENTAGE", "PRICEOFFSET"), _DECIMAL.fullmatch),
    "DAYOFMONTH": re.compile(rb"0?[1-9]|[12][0-9]|3[01]").fullmatch,
    "CHAR": re.compile(rb"[^\x01]").fullmatch,
    "BOOLEAN": re.compile(rb"[YN]").fullmatch,
    "UTCTIMESTAMP": _TIMESTAMP.fullmatch,
    "LOCALMKTDATE": re.compile(_DATE).fullmatch,
    "MONTHYEAR": re.compile(rb"[0-9]{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]|w[1-5])?").fullmatch,
}


def parse_int(value: bytes) -> int:
    """An INT, SEQNUM, LENGTH or NUMINGROUP; ValueError where it is none (``int`` would take "+1")."""
    if value.isdigit() and len(value) <= 18:
        return int(value)
    if _INTEGER.fullmatch(value) is None:
        raise ValueError(f"{value[:40]!r} is no integer")
    return int(value)


def format_int(value: int) -> bytes:
    return b"%d" % value


def parse_decimal(value: bytes) -> int:
    """A PRICE, QTY or AMT as int64 nanos, exactly.

    Raises
    ------
    ValueError
        No decimal number, more than nine decimals that are not zero, or outside int64 nanos.
    """
    whole, _, fraction = value.partition(b".")
    places = len(fraction)
    if whole.isdigit() and places <= 9 and (not places or fraction.isdigit()):
        nanos = int(whole + fraction) * _POWERS[places]
    else:
        nanos = _parse_rare_decimal(value)
    if not -NANOS_MAX <= nanos <= NANOS_MAX:
        raise ValueError(f"{value[:40]!r} is outside int64 nanos")
    return nanos


def _parse_rare_decimal(value: bytes) -> int:
    """Signs, a bare ".5", and zeros behind the ninth decimal."""
    if _DECIMAL.fullmatch(value) is None or len(value) > 64:
        raise ValueError(f"{value[:40]!r} is no decimal number")
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    if fraction[9:].strip(b"0"):
        raise ValueError(f"{value[:40]!r} has more than nine decimals; it would be rounded")
    nanos = int(whole or b"0") * NANOS + int(fraction[:9].ljust(9, b"0"))
    return -nanos if value.startswith(b"-") else nanos


def format_decimal(nanos: int) -> bytes:
    """Exact decimal text, without trailing zeros."""
    if nanos < 0:
        return b"-" + format_decimal(-nanos)
    whole, fraction = divmod(nanos, NANOS)
    if not fraction:
        return b"%d" % whole
    return (b"%d.%09d" % (whole, fraction)).rstrip(b"0")


def parse_flag(value: bytes) -> bool:
    """A BOOLEAN; ValueError where it is neither Y nor N."""
    if value == b"Y":
        return True
    if value == b"N":
        return False
    raise ValueError(f"{value[:40]!r} is neither Y nor N")


_BAD_TIMESTAMP = "is no UTC timestamp (YYYYMMDD-HH:MM:SS[.sss])"


@lru_cache(maxsize=SECONDS_MAX)
def _second(text: bytes) -> int:
    """YYYYMMDD-HH:MM:SS as seconds since the epoch. A leap second is the next minute's first, as in POSIX."""
    if _TIMESTAMP.fullmatch(text) is None:
        raise ValueError(f"{text!r} {_BAD_TIMESTAMP}")
    leap = text.endswith(b"60")
    whole = (text[:-2] + b"59" if leap else text).decode()
    moment = datetime.strptime(whole, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) + leap


@lru_cache(maxsize=SECONDS_MAX)
def _second_text(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%d-%H:%M:%S").encode()


def parse_timestamp(value: bytes) -> int:
    """A UTCTIMESTAMP, with up to nine decimals of the second, as ns since the epoch; ValueError if none."""
    fraction = value[18:]
    if fraction.isdigit() and len(value) <= 27 and value[17:18] == b".":
        part = int(fraction) * _POWERS[len(fraction)]
    elif len(value) == 17:
        part = 0
    else:
        raise ValueError(f"{value[:40]!r} {_BAD_TIMESTAMP}")
    return _second(value[:17]) * NS_PER_S + part


def format_timestamp(ts: int) -> bytes:
    """ns since the epoch as a UTCTIMESTAMP with milliseconds (FIX 4.2 and 4.4 know no more)."""
    second, fraction = divmod(ts, NS_PER_S)
    return b"%b.%03d" % (_second_text(second), fraction // NS_PER_MS)


def field_text(text: str) -> bytes:
    """Text as a field's value: UTF-8, without the SOH that would end it; ValueError where it is empty."""
    value = text.encode("utf-8", "replace").replace(SOH, b" ")
    if not value:
        raise ValueError("a FIX field cannot be empty")
    return value
