"""Decimal text in, int64 nanos out, or a reason why not: numbers as all the venues' JSON has them."""

from __future__ import annotations

import re

from tickloom import prices
from tickloom.errors import PriceRangeError

MS_MAX = 9_000_000_000_000  # year 2255; its nanoseconds still fit 64 bits
ID_MAX = 10**18 - 1
#: Units before the point that 64 bits of 1e-9 units hold whatever follows them.
WHOLE_MAX = prices.NANOS_MAX // prices.NANOS - 1
SEQS_PER_RECORD = 100  # source numbers of a record, where a message may hold many trades
BEYOND = -1  # in place of a price that is larger

_PLAIN = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)


class WrongValueError(ValueError):
    """A value that the venue never sends."""


def exact(text: str) -> int:
    """Decimal text as nanos that are still the same after a double has carried them.

    ``parse_nanos`` asks Python's exact division; the column check of the codec and of the writer rounds
    to a double first. Both must agree, or an event would be refused where nobody counts it.
    """
    if not _PLAIN.fullmatch(text):
        raise WrongValueError(f"{text!r} is no plain decimal")
    value = prices.parse_nanos(text)
    if round(float(value) / prices.NANOS * prices.NANOS) != value:
        raise PriceRangeError(f"{text} does not survive as a double; it would be stored changed")
    return value


def is_beyond(text: str) -> bool:
    """Whether a plain decimal is too large for 64 bits of 1e-9 units."""
    return _PLAIN.fullmatch(text) is not None and int(text.partition(".")[0]) > WHOLE_MAX
