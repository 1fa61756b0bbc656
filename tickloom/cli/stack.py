"""``tickloom setup | up | down | status | doctor | logs``: the local stack on the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tickloom.clock import NS_PER_S, SystemClock
from tickloom.errors import ServiceError
from tickloom.settings import StackSettings
from tickloom.stack import artifacts
from tickloom.stack.applications import NAMES, catalogue, names
from tickloom.stack.configuration import StackConfiguration
from tickloom.stack.doctor import examine
from tickloom.stack.logs import follow, tail
from tickloom.stack.state import SETTLED, ServiceStatus, State, read_state, supervisor_pid
from tickloom.stack.supervisor import Stack

SUPERVISOR_LOG = "supervisor"
POLL_S = 0.2
COLOURS = {
    "healthy": "green",
    "failed": "red",
    "unhealthy": "red",
    "backoff": "yellow",
    "starting": "cyan",
    "ended": "green",
}

console = Console(highlight=False)
Services = Annotated[
    list[str] | None,
    typer.Argument(
        help=f"Those of the setting stack.services if none: {', '.join(NAMES)}, or a feed of its own folder."
    ),
]


def setup() -> None:
    """Bring the JRE and the pinned jars, checked, into the cache of this user."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    java, lock = artifacts.java(), artifacts.read_lock()
    repository = StackSettings.load().maven_repository
    absent = artifacts.unusable(lock, artifacts.cache_dir())
    if absent:
        size_mb = sum(jar.size_bytes for jar, _ in absent) // 1_000_000
        console.print(f"fetching {len(absent)} jars, {size_mb} MB")
    rows: dict[str, TaskID] = {}
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def show(name: str, done: int, total: int) -> None:
            if not name.endswith(".jar"):
                return
            if name not in rows:
                rows[name] = bars.add_task(name, total=total)
            bars.update(rows[name], completed=done, visible=done < total)

        fetched = artifacts.fetch(lock, repository=repository, progress=show) if absent else 0
    came = f"{fetched} fetched" if fetched else "all there"
    console.print(f"jars: {len(lock)} checked, {came}, in {artifacts.cache_dir()}", soft_wrap=True)
    console.print(f"java: {java}", soft_wrap=True)


def up(
    services: Services = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when all is healthy, leave it running.")
    ] = False,
) -> None:
    """Start the stack and watch over it; Ctrl-C or `tickloom down` stops it."""
    configuration = _configuration()
    chosen = catalogue(configuration, services or None)
    if detach:
        _up_detached(configuration.stack, [service.name for service in chosen])
        return
    stack = Stack(
        chosen, configuration.stack, environment=configuration.environment(), on_change=_Progress().show
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with stack:
            _print_table([_row(status) for status in stack.status()])
            console.print("Ctrl-C, or `tickloom down` elsewhere, stops it all.")
            threading.Event().wait()
    except KeyboardInterrupt:
        # where it came while the stack was starting or running, the with has stopped everything already
        console.print("stopped")


def _configuration() -> StackConfiguration:
    """The stack's settings, with those of the feeds that declare themselves and are in ``stack.services``."""
    from ingest.declared import declared

    declared()  # the kernel knows no stage: it is told which there are
    return StackConfiguration.load()


def _up_detached(settings: StackSettings, names: list[str]) -> None:
    if pid := supervisor_pid(settings.data_dir):
        raise ServiceError(
            f"a stack runs already (supervisor {pid}): see `tickloom status`, end it with `tickloom down`"
        )
    log_file = settings.data_dir / "log" / f"{SUPERVISOR_LOG}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "tickloom", "up", *names],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    progress, shown = _Progress(), dict.fromkeys(names, "")
    while True:
        ended = supervisor.poll()
        state = read_state(settings.data_dir)
        entries = state["services"] if state.get("supervisor") == supervisor.pid else {}
        for name, entry in entries.items():
            if shown.get(name) != entry["state"]:
                shown[name] = entry["state"]
                progress.line(name, State(entry["state"]), entry["pid"], entry["detail"])
        if ended is not None:
            raise ServiceError(
                "the stack did not start:\n" + "\n".join(tail(log_file, 30)) + f"\nMore in {log_file}."
            )
        if all(shown[name] in SETTLED for name in names):
            break
        threading.Event().wait(POLL_S)
    _print_table(_rows(settings.data_dir))
    console.print("`tickloom down` stops it all.")


def down() -> None:
    """Stop the stack, dependents first."""
    settings = StackConfiguration.load().stack
    pid = supervisor_pid(settings.data_dir)
    if not pid:
        console.print(f"no stack runs on {settings.data_dir}")
        return
    os.kill(pid, signal.SIGTERM)
    clock = SystemClock()
    # the slowest chain: agent, exchange, kafka, each to its limit
    deadline_ns = clock.monotonic_ns() + int(4 * settings.stop_timeout_s * NS_PER_S)
    while supervisor_pid(settings.data_dir):
        if clock.monotonic_ns() > deadline_ns:
            raise ServiceError(
                f"supervisor {pid} does not end. `kill -9 {pid}` ends it and everything below it."
            )
        threading.Event().wait(POLL_S)
    console.print("stopped")


def status() -> None:
    """Show every service; exit code 1 unless all are healthy."""
    settings = StackConfiguration.load().stack
    if not supervisor_pid(settings.data_dir):
        console.print(f"no stack runs on {settings.data_dir}; `tickloom up` starts one")
        raise typer.Exit(1)
    rows = _rows(settings.data_dir)
    _print_table(rows)
    if any(row["state"] not in SETTLED for row in rows):
        raise typer.Exit(1)


def doctor() -> None:
    """Find what would keep the stack from running; exit code 1 if there is something."""
    findings = examine(_configuration)
    for one in findings:
        mark = "[green]OK[/]     " if one.ok else "[red]problem[/]"
        remedy = "" if one.ok else f" -> {one.remedy}"
        console.print(f"{mark} {one.check}: ", end="")
        console.print(f"{one.detail}{remedy}", markup=False, soft_wrap=True)
    if not all(one.ok for one in findings):
        raise typer.Exit(1)


def logs(
    name: Annotated[str, typer.Argument(help=f"{', '.join(NAMES)}, a feed, or {SUPERVISOR_LOG}.")],
    follow_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 100,
) -> None:
    """Print the end of a service's log."""
    configuration = _configuration()
    known = names(configuration)
    if name not in (*known, SUPERVISOR_LOG):
        raise ServiceError(f"no service {name!r}; there are {', '.join(known)}")
    path: Path = configuration.stack.data_dir / "log" / f"{name}.log"
    if not path.exists() and not follow_on:
        raise ServiceError(f"{path} is not there: {name} was never started on this data directory")
    for line in tail(path, lines):
        print(line)
    if follow_on:
        try:
            for part in follow(path, threading.Event()):
                print(part, end="", flush=True)
        except KeyboardInterrupt:
            pass


class _Progress:
    """A line for each change of a service, with the seconds since the start."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._begin_ns = self._clock.monotonic_ns()

    def show(self, status: ServiceStatus) -> None:
        self.line(status.name, status.state, status.pid, status.detail)

    def line(self, name: str, state: State, pid: int, detail: str) -> None:
        if state in (State.WAITING, State.STOPPED) and not detail:
            return
        seconds = (self._clock.monotonic_ns() - self._begin_ns) / NS_PER_S
        text = f"{seconds:6.1f} s  {name:<18} [{COLOURS.get(state, 'default')}]{state:<9}[/]"
        console.print(text + (f" pid {pid}" if pid else ""), end="")
        console.print(f" {detail}" if detail else "", markup=False)


def _row(status: ServiceStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "state": status.state,
        "pid": status.pid,
        "restarts": status.restarts,
        "address": status.address,
        "ports": dict(status.ports),
        "detail": status.detail,
    }


def _rows(data_dir: Path) -> list[dict[str, Any]]:
    services: dict[str, dict[str, Any]] = read_state(data_dir).get("services", {})
    return [{"name": name, **entry} for name, entry in services.items()]


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("service", "state", "pid", "restarts", "address"):
        table.add_column(title, justify="right" if title in ("pid", "restarts") else "left", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        address = f"{row['address']} {LABELS.get(row['name'], '')}".strip()
        ports = "" if row["address"] else " ".join(str(port) for port in row["ports"].values())
        table.add_row(
            row["name"],
            f"[{COLOURS.get(row['state'], 'default')}]{row['state']}[/]",
            str(row["pid"] or ""),
            "" if row["state"] == "ended" else str(row["restarts"] or ""),
            address or ports,
            "" if row["state"] in ("healthy", "ended") else row["detail"],
        )
    console.print(table)


LABELS = {"questdb": "(console)", "flink-jobmanager": "(web UI)", "dagster-webserver": "(web UI)"}
