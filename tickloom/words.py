"""Eight bytes at once, as one number, for Numba functions."""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


@njit(cache=True, nogil=True, inline="always")
def get_word(raw, pos):  # type: ignore[no-untyped-def]
    """Eight bytes at ``pos``, all of which are in ``raw``, little-endian: one load, once LLVM is done."""
    at = np.uint64(pos)  # not negative, so nothing wraps around
    word = np.uint64(raw[at])
    word |= np.uint64(raw[at + np.uint64(1)]) << np.uint64(8)
    word |= np.uint64(raw[at + np.uint64(2)]) << np.uint64(16)
    word |= np.uint64(raw[at + np.uint64(3)]) << np.uint64(24)
    word |= np.uint64(raw[at + np.uint64(4)]) << np.uint64(32)
    word |= np.uint64(raw[at + np.uint64(5)]) << np.uint64(40)
    word |= np.uint64(raw[at + np.uint64(6)]) << np.uint64(48)
    return word | np.uint64(raw[at + np.uint64(7)]) << np.uint64(56)


@intrinsic
def trailing_zeros(typing_context, word):  # type: ignore[no-untyped-def]
    """Zero bits below the lowest one of a word that is not zero."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.uint64(types.uint64), generate
