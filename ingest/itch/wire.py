"""Fields out of bytes, in one machine instruction each: what the bulk kernels read and write with.

Numba checks each index for a negative one and builds an integer byte by byte; the wide loads here do
neither. Nothing here checks bounds: a kernel that uses these has seen before that the whole message lies in
the array. ``prefetch`` asks for a line of memory that is needed some messages later.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic


def _address(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    view = context.make_array(array_type)(context, builder, value=array)
    return builder.gep(builder.bitcast(view.data, cgutils.voidptr_t), [at])


def _load(context: Any, builder: Any, signature: Any, args: Any, bits: int) -> Any:
    address = _address(context, builder, signature.args[0], args[0], args[1])
    return builder.load(builder.bitcast(address, ir.IntType(bits).as_pointer()), align=1)


def _integer(bits: int) -> Any:
    def load(_typing_context, data, at):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.bswap(_load(context, builder, signature, args, bits))
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(data, types.int64), codegen

    load.__name__ = f"load{bits}"
    return intrinsic(load)


def _little(bits: int) -> Any:
    def load(_typing_context, data, at):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = _load(context, builder, signature, args, bits)  # this machine's order: x86, ARM
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return types.int64(data, types.int64), codegen

    load.__name__ = f"little{bits}"
    return intrinsic(load)


def without_blanks(builder: Any, raw: Any) -> Any:
    """LLVM for bytes of text, their first the lowest, with zeros for the spaces behind the last letter."""
    # Bytes stay in their order: the last one, where padding ends, is the highest.
    blanks = builder.xor(raw, ir.Constant(raw.type, int.from_bytes(b" " * (raw.type.width // 8), "little")))
    shift = builder.and_(builder.ctlz(blanks, ir.Constant(ir.IntType(1), 0)), ir.Constant(raw.type, -8))
    mask = builder.lshr(ir.Constant(raw.type, -1), shift)
    blank = builder.icmp_unsigned("==", blanks, ir.Constant(raw.type, 0))
    return builder.select(blank, ir.Constant(raw.type, 0), builder.and_(raw, mask))


#: ``load16(data, at)``: a big-endian unsigned integer of an array of bytes, as int64 (in two's complement).
load16, load32, load64 = _integer(16), _integer(32), _integer(64)
#: The same of little-endian integers.
little16, little32, little64 = _little(16), _little(32), _little(64)


@njit(cache=True, nogil=True, forceinline=True)
def load48(data, at):  # type: ignore[no-untyped-def]
    """A big-endian unsigned integer of six bytes, as int64: a timestamp."""
    return (load16(data, at) << 32) | load32(data, at + 2)


@intrinsic
def prefetch(_typing_context, array, at_byte):  # type: ignore[no-untyped-def]
    """Ask for the line that holds byte ``at_byte`` of an array's memory, to be written soon."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature.args[0], args[0], args[1])
        int32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, int32, int32, int32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, int32(1), int32(3), int32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen
