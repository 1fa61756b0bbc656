"""Real captures as seeds, where they are there; without them the fuzzer has its synthetic ones."""

from __future__ import annotations

import os
from pathlib import Path

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
VARIABLE = "FUZZ_SYNTHETIC_ONLY"  # the same frames on every machine


def real(relative: str) -> Path | None:
    """A file or folder of ``../shared/data``; None where it is not there, or not wanted."""
    path = SHARED_DATA / relative
    return path if path.exists() and not os.environ.get(VARIABLE) else None
