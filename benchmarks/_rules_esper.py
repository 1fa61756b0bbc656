"""The rules of the benchmark by Esper, where there is a JDK with Maven: the peer that is fast on one core.

Esper (com.espertech:esper-runtime 9.0.0) has the events in memory as Java objects before the clock starts,
and raises no signal that leaves its process: less than what a Flink job is asked to do.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

from benchmarks import _rules_tape as tapes
from benchmarks._rules_flink import Steady

SOURCES = Path(__file__).parent / "esper"
RUNS = 4  # in one JVM, which compiles itself in the first of them
_TOOLS = ("java", "javac", "mvn")


class Esper:
    """A compiled harness and the tape on disk.

    Attributes
    ----------
    why_not : str
        What is missing; empty where it can run.
    """

    def __init__(self, trades: int, folder: Path) -> None:
        self._folder, self._trades = folder, trades
        folder.mkdir()
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        self.why_not = f"no {', '.join(missing)} on the PATH" if missing else self._build()
        if not self.why_not:
            _write_tape(trades, folder / "tape")

    def measure(self, rule: str) -> tuple[Steady, int]:
        """The median run of a JVM that has compiled itself, by its CPU time, and its matches."""
        program = ["java", "-Xmx4g", "-cp", self._classpath, "Rules", str(self._folder / "tape")]
        done = subprocess.run([*program, rule, str(RUNS)], capture_output=True, text=True, check=True)
        runs = [line.split() for line in done.stdout.splitlines()]
        warm = sorted(runs[1:], key=lambda run: float(run[2]))
        matches, seconds, cpu_s = warm[len(warm) // 2]
        rates = self._trades / float(cpu_s), self._trades / float(seconds)
        return Steady(*rates, 0.0, float(cpu_s)), int(matches)

    @property
    def _classpath(self) -> str:
        return f"{self._folder / 'jars'}/*:{self._folder / 'classes'}"

    def _build(self) -> str:
        """Fetch the jars and compile the harness; why that failed."""
        jars, classes = self._folder / "jars", self._folder / "classes"
        pom, harness = str(SOURCES / "pom.xml"), str(SOURCES / "Rules.java")
        steps = (
            ["mvn", "-q", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={jars}"],
            ["javac", "-cp", f"{jars}/*", "-d", str(classes), harness],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True)
            if done.returncode:
                return f"{step[0]}: {(done.stdout + done.stderr).strip().splitlines()[-1]}"
        return ""


def _write_tape(trades: int, path: Path) -> None:
    tape = tapes.make_tape(trades)
    rows = np.zeros(
        trades,
        dtype=[("symbol", "<i8"), ("price", "<f8"), ("size", "<f8"), ("seq", "<i8"), ("time", "<i8")],
    )
    rows["symbol"], rows["seq"], rows["time"] = tape["symbol"], tape["seq"], tape["ts_event"] // 1_000_000
    rows["price"], rows["size"] = tape["price"] / 1e9, tape["size"] / 1e9
    rows.tofile(path)
