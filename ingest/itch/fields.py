"""Messages of one type in, its columns out: a loop a type, written from the layouts.

A loop knows at compile time where its fields stand and how wide they are, and takes all fields of a message
while its bytes are near, one load and one store each. As in :mod:`ingest.itch.wire` nothing here checks
bounds: what is noted lies in the bytes, and the columns have the room.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ingest.itch.messages import LAYOUTS, LENGTH_BYTES
from ingest.itch.wire import without_blanks
from ingest.layout import Field

#: Bits of what is noted of a message: below, its place in the stretch; above, the byte of its prefix.
STRETCH_BITS = 12
TIMESTAMP_BYTES = 6
_INT64 = ir.IntType(64)


def width(field: Field) -> int:
    """Bytes of a field in its column."""
    return 8 if field.size == TIMESTAMP_BYTES else field.size


def _native(builder: Any, field: Field, address: Any) -> Any:
    """A field's value as its column has it, from the address of its first byte."""

    def load(bits: int, at: Any) -> Any:
        return builder.load(builder.bitcast(at, ir.IntType(bits).as_pointer()), align=1)

    if field.size == TIMESTAMP_BYTES:  # two bytes come before it: those of the tracking number
        before = builder.gep(address, [_INT64(-2)])
        return builder.and_(builder.bswap(load(64, before)), _INT64((1 << 48) - 1))
    value = load(8 * field.size, address)
    if field.kind == "a":
        return without_blanks(builder, value)
    return value if field.size == 1 else builder.bswap(value)


def _loop(
    builder: Any, letter: str, data: Any, noted: Any, count: Any, memory: Any, columns: Any, number: Any
) -> None:
    fields = LAYOUTS[letter].fields[1:]
    bases = [
        builder.gep(memory, [builder.load(builder.gep(columns, [_INT64(place)]))])
        for place in range(len(fields) + 1)
    ]
    with cgutils.for_range(builder, count) as loop:
        note = builder.load(builder.gep(noted, [loop.index]))
        message = builder.gep(data, [builder.lshr(note, _INT64(STRETCH_BITS))])

        def store(base: Any, value: Any) -> None:
            column = builder.bitcast(base, value.type.as_pointer())
            builder.store(value, builder.gep(column, [loop.index]), align=value.type.width // 8)

        for place, field in enumerate(fields):
            offset = LENGTH_BYTES + LAYOUTS[letter].offsets[field.name]
            store(bases[place], _native(builder, field, builder.gep(message, [_INT64(offset)])))
        place_in_stretch = builder.and_(note, _INT64((1 << STRETCH_BITS) - 1))
        store(bases[-1], builder.add(number, place_in_stretch))


@intrinsic
def fill(_typing_context, row, data, noted, count, memory, columns, number):  # type: ignore[no-untyped-def]
    """Fill the columns of a type, given as its place in LAYOUTS.

    noted: int64, of ``count`` messages; memory: uint8, the columns'; columns: int64, the byte at which that
    of each field but the type begins, then that of the messages' numbers; number: the stretch's first.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def pointer(place: int) -> Any:
            return context.make_array(signature.args[place])(context, builder, value=args[place]).data

        bytes_, notes, target, bases = (pointer(place) for place in (1, 2, 4, 5))
        end = builder.append_basic_block("filled")
        switch = builder.switch(args[0], end)
        for place, letter in enumerate(LAYOUTS):
            block = builder.append_basic_block(f"fill_{letter}")
            switch.add_case(_INT64(place), block)
            builder.position_at_end(block)
            _loop(builder, letter, bytes_, notes, args[3], target, bases, args[6])
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(types.int64, data, noted, types.int64, memory, columns, types.int64), codegen
