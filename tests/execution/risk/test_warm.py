"""What is compiled ahead is all that the gate runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import importlib
from execution import limits
from execution.risk.warm import warm_up
from tickloom.instruments import Registry
from tickloom.settings import ExecutionSettings

registry = Registry.load()
warm_up(registry, limits.load(ExecutionSettings.load().limits_file, registry))
for name in ("arithmetic", "exposure", "kernel"):
    for kernel, function in vars(importlib.import_module(f"execution.risk.{name}")).items():
        if hasattr(function, "signatures"):
            print(kernel, len(function.signatures))
"""


def test_every_kernel_is_compiled_ahead(tmp_path: Path) -> None:
    """Behind a warm-up without any cache no kernel of the gate is left: the first signal waits for none."""
    project = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kernels = dict(line.split() for line in done.stdout.splitlines())
    assert len(kernels) > 20
    assert [name for name, signatures in kernels.items() if signatures == "0"] == []
