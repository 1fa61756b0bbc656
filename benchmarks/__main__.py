"""Run every benchmark and keep its lines with a description of the machine: ``make bench``.

    python -m benchmarks [NAME ...]

Each script prints JSON lines; those of a run go to ``benchmarks/results/<day>.jsonl``, the machine first.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def machine() -> dict[str, object]:
    """What the figures depend on."""
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else ""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": model or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages * size / 1e9),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{time.strftime('%Y-%m-%d')}.jsonl"
    failed = []
    with target.open("a") as out:
        out.write(json.dumps(machine()) + "\n")
        for name in names:
            print(f"# {name}", flush=True)
            done = subprocess.run(
                [sys.executable, "-m", f"benchmarks.{name}"],
                stdout=subprocess.PIPE,
                text=True,
                cwd=HERE.parent,
            )
            sys.stdout.write(done.stdout)
            out.writelines(line + "\n" for line in done.stdout.splitlines() if line.startswith("{"))
            out.flush()
            if done.returncode:
                failed.append(name)
    print(f"# kept in {target.relative_to(HERE.parent)}")
    if failed:
        print(f"# failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
