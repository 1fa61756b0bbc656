"""Sixteen neighbours of an array at once: what the sorted price levels are searched and moved with.

Written as vectors of LLVM, which makes of them what the machine has, so that it costs no mispredicted branch
where among the sixteen a level stands. As in :mod:`ingest.itch.wire` nothing here checks bounds: a caller has
seen that LANES items from ``at`` on, and one more where items move, lie in the array.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LANES = 16
_INT64 = ir.IntType(64)


def _vector(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    """Pointer to the vector whose first lane is item ``at``."""
    view = context.make_array(array_type)(context, builder, value=array)
    item = context.get_data_type(array_type.dtype)
    return builder.bitcast(builder.gep(view.data, [at]), ir.VectorType(item, LANES).as_pointer())


def _splat(builder: Any, value: Any) -> Any:
    vector = ir.VectorType(value.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _compared(name: str, comparison: str) -> Any:
    def compare(_typing_context, array, at, value):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            items = builder.load(
                _vector(context, builder, signature.args[0], args[0], args[1]),
                align=array.dtype.bitwidth // 8,
            )
            value = builder.trunc(args[2], items.type.element)
            bits = builder.icmp_unsigned(comparison, items, _splat(builder, value))
            return builder.zext(builder.bitcast(bits, ir.IntType(LANES)), _INT64)

        return types.int64(array, types.int64, types.int64), codegen

    compare.__name__ = name
    return intrinsic(compare)


def _moved(name: str, up: bool) -> Any:
    def move(_typing_context, array, at, first):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            align = array.dtype.bitwidth // 8
            here = _vector(context, builder, signature.args[0], args[0], args[1])
            after = builder.add(args[1], ir.Constant(_INT64, 1))
            there = _vector(context, builder, signature.args[0], args[0], after)
            low, high = builder.load(here, align=align), builder.load(there, align=align)
            lane = ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(range(LANES)))
            chosen = builder.icmp_signed(">=", lane, _splat(builder, builder.trunc(args[2], ir.IntType(32))))
            if up:
                builder.store(builder.select(chosen, low, high), there, align=align)
            else:
                builder.store(builder.select(chosen, high, low), here, align=align)
            return context.get_dummy_value()

        return types.void(array, types.int64, types.int64), codegen

    move.__name__ = name
    return intrinsic(move)


#: ``equal(array, at, value)``: bit n of the result is set where item ``at + n`` is ``value``.
equal = _compared("equal", "==")
#: ``above(array, at, value)``: likewise where it is more, as unsigned integers.
above = _compared("above", ">")
#: ``open_gap(array, at, first)``: items ``at + first`` to ``at + 15`` move one place up.
open_gap = _moved("open_gap", True)
#: ``close_gap(array, at, first)``: items ``at + first + 1`` to ``at + 16`` move one place down.
close_gap = _moved("close_gap", False)


@intrinsic
def leading(_typing_context, bits):  # type: ignore[no-untyped-def]
    """Zeros in front of the highest of 64 bits that is set; 64 where none is."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), codegen
