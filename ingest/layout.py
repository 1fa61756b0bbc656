"""Messages of a fixed layout as data, for feeds whose messages begin with the letter of their type.

What a venue's specification lists as a table is one line here; decoders take lengths and offsets from it
when they are compiled, and packing and unpacking serve generators, tests, lineage and people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ByteOrder = Literal["big", "little"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field. kind: ``u`` unsigned, ``i`` signed, ``p`` unsigned price, ``a`` ASCII text, padded with
    spaces."""

    name: str
    kind: str
    size: int


def field(text: str) -> Field:
    """A field written ``name:kind+bytes``, such as ``shares:u4``."""
    name, _, code = text.partition(":")
    return Field(name, code[0], int(code[1:]))


@dataclass(frozen=True)
class Layout:
    """One message type: its letter, name and fields in wire order, the type byte first.

    may_grow: a later revision may put fields behind these, so a longer message is read.
    """

    letter: str
    name: str
    fields: tuple[Field, ...]
    order: ByteOrder
    may_grow: bool = False

    @property
    def length(self) -> int:
        """Bytes of the message, type byte included."""
        return sum(field.size for field in self.fields)

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Field name to its byte offset."""
        found, at = {}, 0
        for field in self.fields:
            found[field.name] = at
            at += field.size
        return found

    def pack(self, **values: int | str | bytes) -> bytes:
        """The message's bytes. What is not given is 0 or blank.

        Raises
        ------
        ValueError
            There is no such field, or a text is too long for it.
        OverflowError
            A number is too large for its field.
        """
        unknown = set(values) - set(self.offsets)
        if unknown:
            raise ValueError(f"{self.name} ({self.letter}) has no field {sorted(unknown)}")
        out = bytearray(self.letter.encode())
        for field in self.fields[1:]:
            value = values.get(field.name, b"" if field.kind == "a" else 0)
            if isinstance(value, int):
                out += value.to_bytes(field.size, self.order, signed=field.kind == "i")
            else:
                text = value.encode() if isinstance(value, str) else value
                if len(text) > field.size:
                    raise ValueError(
                        f"{self.name}.{field.name}: {text!r} is too long for its {field.size} bytes"
                    )
                out += text.ljust(field.size)
        return bytes(out)

    def unpack(self, raw: bytes) -> dict[str, int | str]:
        """Field name to value: texts stripped, prices as the integers that they are on the wire.

        Raises
        ------
        ValueError
            The message is shorter than its fields, or longer where it may not be.
        """
        if len(raw) < self.length or (len(raw) > self.length and not self.may_grow):
            raise ValueError(f"{self.name} ({self.letter}) has {self.length} bytes, not {len(raw)}")
        values: dict[str, int | str] = {}
        for field in self.fields:
            part = raw[self.offsets[field.name] :][: field.size]
            if field.kind == "a":
                values[field.name] = part.decode("ascii", "replace").rstrip()
            else:
                values[field.name] = int.from_bytes(part, self.order, signed=field.kind == "i")
        return values


def lengths(layouts: Iterable[Layout]) -> NDArray[np.int64]:
    """Length by type byte, shape (256,), for kernels; 0: no such type."""
    found = np.zeros(256, dtype=np.int64)
    for layout in layouts:
        found[ord(layout.letter)] = layout.length
    return found
