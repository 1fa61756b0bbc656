"""Arrays without reference counts, for kernels that pass many of them through many small functions.

Numba counts references of each array it hands on, atomically: over nine tenths of the ITCH kernel's
time went there, and two thirds of some rules'. The arguments of the outermost kernel keep their arrays
alive; inside, views that own nothing will do.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils
from numba.extending import intrinsic, overload


@intrinsic
def _view(_typing_context, array):  # type: ignore[no-untyped-def]
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, value=args[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), codegen


def unowned(array: Any) -> Any:
    """The same array, owning nothing. Only for use while a caller holds the original."""
    return array  # what plain Python sees of it


@overload(unowned)
def _unowned(array):  # type: ignore[no-untyped-def]
    return lambda array: _view(array)
