"""Where Numba keeps compiled kernels: a folder named after the source of all of them.

Numba compiles a function anew when the function's own file changes, and not when a file that it calls
into does: an edit of one could leave the other's old machine code in force, silently. So each state of
the kernels' sources has a cache of its own.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tickloom", "ingest", "streaming", "storage", "strategies", "execution", "orchestration")
_MARKS = (b"njit", b"@compiled")


def base() -> Path:
    """The folder of all caches, of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickloom" / "numba"


def source_hash(root: Path = ROOT) -> str:
    """Of every file that has a compiled function: path and content."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            if any(mark in content for mark in _MARKS):
                digest.update(str(path.relative_to(root)).encode() + b"\0" + content)
    return digest.hexdigest()[:16]


def install() -> None:
    """Set Numba's variable, unless the user has. Without a writable folder Numba decides by itself."""
    given = os.environ.get(VARIABLE)
    try:
        if given and not Path(given).is_relative_to(base()):
            return
        folder = base() / source_hash()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only home, or none
        return
    os.environ[VARIABLE] = str(folder)
