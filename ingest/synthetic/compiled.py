"""How functions are compiled here: typed, cached on disk, and free of the interpreter's lock.

Numba's cache looks at a function's own file only: who edits ``orderbook.py`` must also remove the compiled
``flow`` from ``__pycache__`` (``*.nbi``, ``*.nbc``), or go on with the old books.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile ``function`` with Numba at its first call, and keep its signature for the type checker."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


def constant(number: int) -> int:
    """A constant argument of compiled functions: an int64, because each literal compiles them anew."""
    return cast(int, np.int64(number))
