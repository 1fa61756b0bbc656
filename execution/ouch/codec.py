"""OUCH 5.0 messages to bytes and back, by the tables of :mod:`execution.ouch.messages`. Pure."""

from __future__ import annotations

import struct
from typing import Any, Generic, TypeVar, get_type_hints

from execution.ouch.messages import (
    ALWAYS_APPENDED,
    INBOUND,
    OUTBOUND,
    AiqCanceled,
    Appendage,
    Inbound,
    Outbound,
)
from execution.ouch.values import OPTIONS
from tickloom.errors import DecodeError

_NAME = "OUCH"
_LENGTH = struct.Struct(">H")
_OPTION_STRUCTS = {tag: (name, struct.Struct(">" + code)) for name, (tag, code) in OPTIONS.items()}
_OPTION_WRITERS = {name: (tag, struct.Struct(">" + code)) for name, (tag, code) in OPTIONS.items()}
M = TypeVar("M")


class _Layout(Generic[M]):
    """One message: its struct, and which of its fields are text, with their widths."""

    __slots__ = ("always", "cls", "letter", "make", "short", "size", "struct", "texts")

    def __init__(self, letter: str, cls: Any) -> None:
        hints = get_type_hints(cls, include_extras=True)
        codes: list[str] = [hints[name].__metadata__[0] for name in cls._fields[:-1]]
        self.cls: type[M] = cls
        self.make: Any = cls._make
        self.letter = letter.encode()
        self.struct = struct.Struct(">c" + "".join(codes))
        self.size = self.struct.size
        self.texts = tuple((index, int(code[:-1])) for index, code in enumerate(codes) if code[-1] == "s")
        self.always = cls in ALWAYS_APPENDED
        # the only message that grew in the middle: its last field may be missing
        self.short = self.size - 1 if cls is AiqCanceled else self.size

    def encode(self, message: Any) -> bytes:
        values = list(message[:-1])
        for index, width in self.texts:
            text = values[index].encode("ascii")
            if len(text) > width:
                raise ValueError(f"{message._fields[index]}: {values[index]!r} is over {width} bytes")
            values[index] = text.ljust(width)
        raw = self.struct.pack(self.letter, *values)
        appendage = message[-1]
        if not (appendage or self.always):
            return raw
        options = pack_options(appendage)
        return raw + _LENGTH.pack(len(options)) + options

    def decode(self, raw: bytes) -> M:
        end = self.size
        if len(raw) < end:
            if len(raw) != self.short:
                raise DecodeError(_NAME, f"{self.cls.__name__} of {len(raw)} bytes, it has {end}")
            raw += b" "
        _, *values = self.struct.unpack_from(raw)
        for index, _ in self.texts:
            values[index] = values[index].decode("ascii").rstrip(" ")
        if len(raw) == end:
            if self.always:
                raise DecodeError(_NAME, f"{self.cls.__name__} without an appendage length", end)
            values.append(())
        else:
            values.append(_appendage(raw, end))
        message: M = self.make(values)
        return message


_INBOUND: dict[int, _Layout[Inbound]] = {
    ord(letter): _Layout[Inbound](letter, cls) for letter, cls in INBOUND.items()
}
_OUTBOUND: dict[int, _Layout[Outbound]] = {
    ord(letter): _Layout[Outbound](letter, cls) for letter, cls in OUTBOUND.items()
}
_BY_CLASS: dict[type[Any], _Layout[Any]] = {
    layout.cls: layout for table in (_INBOUND, _OUTBOUND) for layout in table.values()
}


def encode(message: Inbound | Outbound) -> bytes:
    """A message as bytes.

    Raises
    ------
    ValueError
        A number that does not fit its field, a text that is too long or not ASCII, an unknown option.
    """
    try:
        return _BY_CLASS[type(message)].encode(message)
    except (struct.error, ValueError) as error:
        raise ValueError(f"{type(message).__name__}: {error}") from None


def decode_inbound(raw: bytes) -> Inbound:
    """What a client sends.

    Raises
    ------
    DecodeError
        An unknown type, a wrong length, text that is not ASCII, an appendage that does not fit.
    """
    return _decode(_INBOUND, raw)


def decode_outbound(raw: bytes) -> Outbound:
    """What the venue sends; raises as :func:`decode_inbound`."""
    return _decode(_OUTBOUND, raw)


def _decode(table: dict[int, _Layout[M]], raw: bytes) -> M:
    layout = table.get(raw[0]) if raw else None
    if layout is None:
        raise DecodeError(_NAME, f"no message begins with {raw[:1]!r}")
    try:
        return layout.decode(raw)
    except UnicodeDecodeError as error:
        raise DecodeError(_NAME, f"{layout.cls.__name__}: text is not ASCII ({error.reason})") from None


def pack_options(appendage: Appendage) -> bytes:
    """Optional fields as tag-length-value; the length counts tag and value."""
    out = bytearray()
    for name, value in appendage:
        writer = _OPTION_WRITERS.get(name)
        if writer is None:
            raise ValueError(f"OUCH has no optional field {name!r}; it has {', '.join(OPTIONS)}")
        tag, layout = writer
        if isinstance(value, str):
            text = value.encode("ascii")
            if len(text) > layout.size:
                raise ValueError(f"option {name}: {value!r} is over {layout.size} bytes")
            packed = text.ljust(layout.size)
        else:
            packed = layout.pack(value)
        out += bytes((layout.size + 1, tag)) + packed
    return bytes(out)


def _appendage(raw: bytes, at: int) -> Appendage:
    if len(raw) < at + 2:
        raise DecodeError(_NAME, "an appendage length of one byte", at)
    (length,) = _LENGTH.unpack_from(raw, at)
    at += 2
    if len(raw) != at + length:
        raise DecodeError(_NAME, f"an appendage of {len(raw) - at} bytes that says {length}", at)
    return unpack_options(raw, at)


def unpack_options(raw: bytes, at: int = 0) -> Appendage:
    """Optional fields from ``at`` on; tags that are not known are passed over, as the specification asks.

    Raises
    ------
    DecodeError
        A length that does not fit.
    """
    found: list[tuple[str, int | str]] = []
    while at < len(raw):
        length = raw[at]
        if length < 1 or at + 1 + length > len(raw):
            raise DecodeError(_NAME, f"an optional field of length {length}", at)
        known = _OPTION_STRUCTS.get(raw[at + 1])
        if known is not None:
            name, layout = known
            if layout.size != length - 1:
                raise DecodeError(_NAME, f"{name} has {layout.size} bytes, not {length - 1}", at)
            (value,) = layout.unpack_from(raw, at + 2)
            found.append((name, value.decode("ascii").rstrip(" ") if isinstance(value, bytes) else value))
        at += 1 + length
    return tuple(found)
