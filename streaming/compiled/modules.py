"""Kernel source in, compiled functions out; kept on disk, so a rule is compiled once a machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from tickloom import compile_cache

_RUNTIME = Path(__file__).with_name("runtime.py")


def load(source: str) -> ModuleType:
    """The module of that source.

    Numba keeps its machine code by the file that a function is in, so the source is written to a file
    whose name is its hash. What it calls into is hashed with it: Numba does not see a change there.
    Where no file can be written, it is compiled anew in each process.
    """
    digest = hashlib.sha256(_RUNTIME.read_bytes() + source.encode()).hexdigest()[:24]
    name = f"tickloom_rule_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    path = compile_cache.base().parent / "rules" / f"{name}.py"
    try:
        if not path.exists():
            _write(path, source)
    except OSError:
        return _in_memory(name, source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _write(path: Path, source: str) -> None:
    """Whole or not at all: another process may read it at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
    with os.fdopen(handle, "w") as file:
        file.write(source)
    Path(name).replace(path)


def _in_memory(name: str, source: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source.replace("cache=True", "cache=False"), name, "exec"), module.__dict__)
    sys.modules[name] = module
    return module
