"""A block of SBE fields as a numpy structured dtype, with the bytes that mean "absent".

A composite becomes one column for each member that takes bytes, ``PRICE.mantissa`` as ``Field.mantissa``.
Columns hold what is on the wire: null is SBE's null value, in place; :func:`Layout.present` gives the mask.
Kernels freeze offsets from here when they are compiled (njit): the file is a part of their cache's key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.sbe.model import Composite, Level, Member, Number, Presence, Primitive, Scalar, Set

#: A set has no null; absent bits are no bits.
NO_BITS = 0


@dataclass(frozen=True, slots=True)
class Leaf:
    """One column. path: its name; null: what stands in it where the field is absent."""

    path: str
    primitive: Primitive
    length: int
    offset: int
    null: Number
    since: int

    @property
    def size(self) -> int:
        return self.primitive.size * self.length


@dataclass(frozen=True)
class Layout:
    """A block in this version of the schema.

    Attributes
    ----------
    leaves : tuple of Leaf
        In order of offset.
    dtype : numpy.dtype
        Structured, ``itemsize`` = the schema's blockLength, every column at its offset on the wire.
    null : uint8, shape (itemsize)
        A block in which everything is absent.
    """

    leaves: tuple[Leaf, ...]
    dtype: np.dtype[np.void]
    null: NDArray[np.uint8]

    @property
    def offsets(self) -> dict[str, int]:
        """Column to its offset in the block."""
        return {leaf.path: leaf.offset for leaf in self.leaves}

    def present(self, rows: NDArray[np.void], path: str) -> NDArray[np.bool_]:
        """Mask of the rows in which a column is not null."""
        leaf = next(item for item in self.leaves if item.path == path)
        column = rows[path]
        if leaf.primitive.name == "char" and leaf.length > 1:
            mask: NDArray[np.bool_] = column != b""
            return mask
        same: NDArray[np.bool_] = np.isnan(column) if leaf.null != leaf.null else column == leaf.null
        return np.logical_not(same.all(axis=1) if leaf.length > 1 else same)

    def end_of(self, *paths: str) -> int:
        """Bytes that a block must have for these columns to be in it."""
        return max(leaf.offset + leaf.size for leaf in self.leaves if leaf.path in paths)


def layout_of(level: Level, order: str) -> Layout:
    """Layout of a message's root block or of a group's entry; order: ``<`` or ``>``."""
    leaves = tuple(leaf for member in level.fields for leaf in _leaves(member, member.name, 0, 0))
    formats: list[object] = []
    null = np.zeros(level.block_length, dtype=np.uint8)
    for leaf in leaves:
        if leaf.primitive.name == "char" and leaf.length > 1:
            formats.append(f"S{leaf.length}")
            continue
        code = order + leaf.primitive.code
        formats.append(code if leaf.length == 1 else (code, (leaf.length,)))
        raw = struct.pack(order + leaf.primitive.struct_code, leaf.null) * leaf.length
        null[leaf.offset : leaf.offset + leaf.size] = np.frombuffer(raw, dtype=np.uint8)
    dtype = np.dtype(
        {
            "names": [leaf.path for leaf in leaves],
            "formats": formats,
            "offsets": [leaf.offset for leaf in leaves],
            "itemsize": level.block_length,
        }
    )
    return Layout(leaves, dtype, null)


def _leaves(member: Member, path: str, base: int, since: int) -> Iterator[Leaf]:
    if member.presence is Presence.CONSTANT:
        return
    encoding, at, since = member.encoding, base + member.offset, max(since, member.since)
    if isinstance(encoding, Composite):
        for part in encoding.members:
            yield from _leaves(part, f"{path}.{part.name}", at, since)
        return
    length = encoding.length if isinstance(encoding, Scalar) else 1
    null = NO_BITS if isinstance(encoding, Set) else encoding.null
    if length:
        yield Leaf(path, encoding.primitive, length, at, null, since)
