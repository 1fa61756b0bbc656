"""Edited modules made new inside a Python that lives on: a Flink TaskManager's.

A TaskManager that has loaded Python keeps the modules that it once imported, whatever becomes of their
files. So before a job starts, its worker compares, and if one of ours has changed, forgets them all: the
job imports them anew, while those that run keep the objects that they have.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from pathlib import Path

from tickloom import compile_cache
from tickloom.errors import ServiceError

PACKAGES = ("tickloom", "streaming", "strategies")  # what a program may import
#: Modules whose classes the operator itself is made of: a new copy would not be the same class.
KEPT = (
    "tickloom",
    "tickloom.clock",
    "tickloom.compile_cache",
    "tickloom.errors",
    "streaming",
    "streaming.live.code",
    "streaming.live.operator",
    "streaming.live.packing",
)
#: Held while modules are forgotten and a job's are imported; several operators start at once.
lock = threading.RLock()
_digests: dict[str, str] = {}  # of the files as they were when they were loaded


def refresh() -> list[str]:
    """Forget our modules if a file of one has changed since it was loaded. Returns those that have.

    Raises
    ------
    ServiceError
        One that cannot be loaded anew has changed.
    """
    with lock:
        loaded = _loaded()
        changed = [name for name, digest in _digests.items() if loaded.get(name, digest) != digest]
        stuck = [name for name in changed if name in KEPT]
        if stuck:
            raise ServiceError(
                f"the TaskManager runs {', '.join(stuck)} from before the last edit. Start it again "
                "(`tickloom down`, `tickloom up`) or set flink.python_mode = 'process'."
            )
        if changed:
            for name in loaded:
                if name not in KEPT:
                    del sys.modules[name]
                    _digests.pop(name, None)
            compile_cache.install()
            if "numba" in sys.modules:  # it has read the variable already
                sys.modules["numba"].config.CACHE_DIR = os.environ.get(compile_cache.VARIABLE, "")
        return changed


def remember() -> None:
    """Take the files of modules that are new since the last call as what was loaded."""
    with lock:
        for name, digest in _loaded().items():
            _digests.setdefault(name, digest)


def _loaded() -> dict[str, str]:
    """Our modules, with the digests of their files as these are now."""
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name.partition(".")[0] in PACKAGES and path and Path(path).exists():
            found[name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found
