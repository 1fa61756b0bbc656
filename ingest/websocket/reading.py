"""What the typed readers of the venues share: from bytes to a message that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from ingest.websocket.message import Kind, Message, checked_ts
from ingest.websocket.numbers import WrongValueError
from tickloom.errors import PriceRangeError

#: RecursionError: brackets within brackets, a thousand deep.
NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TypedReader:
    """Base of the readers.

    Parameters
    ----------
    symbols : sequence of str
        The venue's names, in the order of the session.
    aliases : mapping, optional
        Names that the venue has for them elsewhere, each with the position of its instrument.
    """

    def __init__(self, symbols: Sequence[str], aliases: Mapping[str, int] | None = None) -> None:
        self._index = {symbol: position for position, symbol in enumerate(symbols)} | dict(aliases or {})

    def checked(self, about: Kind, symbol: str, build: Callable[[int], Message]) -> Message:
        """What ``build`` makes for the instrument's index, or what is wrong with it."""
        instrument = self._index.get(symbol, -1)
        if instrument < 0:
            return Message(Kind.UNKNOWN, reason=f"{about.name.lower()} of {symbol}")
        try:
            return build(instrument)
        except PriceRangeError as error:
            return Message(Kind.REFUSED, instrument, about=about, reason=f"{symbol}: {error}")
        except (*NO_JSON, ValueError) as error:  # WrongValueError and parse_nanos are ValueErrors
            return Message(
                Kind.MALFORMED, instrument, about=about, reason=f"{symbol}, {about.name.lower()}: {error}"
            )


def malformed(error: Exception | str) -> Message:
    """Bytes that are no message at all."""
    return Message(Kind.MALFORMED, reason=f"no message: {error}")


def seconds_ns(text: str) -> int:
    """Decimal seconds since 1970 as ns.

    Raises
    ------
    WrongValueError
        Not of that form, or out of range.
    """
    whole, point, part = text.partition(".")
    if not (whole + part).isdigit() or not text.isascii() or len(part) > 9 or (point and not part):
        raise WrongValueError(f"time {text!r}")
    return checked_ts(int(whole) * 10**9 + int(part.ljust(9, "0") or "0"))


def iso_ns(text: str) -> int:
    """``2021-04-17T16:43:37.075687Z`` as ns.

    Raises
    ------
    WrongValueError
        Not of that form, or out of range.
    """
    body, point, part = text.removesuffix("Z").partition(".")
    if not text.endswith("Z") or not text.isascii() or len(part) > 9 or (point and not part.isdigit()):
        raise WrongValueError(f"time {text!r}")
    try:
        moment = datetime.strptime(body, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise WrongValueError(f"time {text!r}") from None
    since = moment - _EPOCH
    return checked_ts((since.days * 86_400 + since.seconds) * 10**9 + int(part.ljust(9, "0") or "0"))


def scaled_ns(value: int, unit_ns: int) -> int:
    """An integer time as ns.

    Raises
    ------
    WrongValueError
        Out of range.
    """
    return checked_ts(value * unit_ns)
