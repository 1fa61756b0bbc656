"""The supervisor with small real child processes: order, crashes, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tickloom.errors import ServiceError, ServiceTimeout, SetupError
from tickloom.settings import StackSettings
from tickloom.stack.ports import free_ports
from tickloom.stack.service import Service, http_answers
from tickloom.stack.state import ServiceStatus, State, read_state, supervisor_pid
from tickloom.stack.supervisor import Stack

PATIENCE_S = 60.0

#: Serves HTTP; a child process of its own, in a session of its own, has its pid in ./NAME.child
WITH_GRANDCHILD = """
import http.server as http, pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path(sys.argv[2]).write_text(str(child.pid))
http.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.SimpleHTTPRequestHandler).serve_forever()
"""
IGNORES_SIGTERM = """
import http.server as http, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    return StackSettings(
        data_dir=tmp_path, start_timeout_s=PATIENCE_S, stop_timeout_s=10, restart_backoff_ms=50
    )


def web_server(name: str, *depends_on: str) -> Service:
    (port,) = free_ports(1)
    return Service(
        name=name,
        argv=(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)),
        health=http_answers(f"http://127.0.0.1:{port}/"),
        depends_on=depends_on,
        ports={f"{name}.port": port},
    )


def script(name: str, source: str, *arguments: str) -> Service:
    (port,) = free_ports(1)
    return Service(
        name=name,
        argv=(sys.executable, "-c", source, str(port), *arguments),
        health=http_answers(f"http://127.0.0.1:{port}/"),
        ports={f"{name}.port": port},
    )


def gone(pid: int) -> bool:
    """Whether no process runs under ``pid``, waiting a while for it to go."""
    try:
        psutil.Process(pid).wait(PATIENCE_S)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


class Record:
    """Keeps (service, state) in the order of their coming."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, State]] = []

    def __call__(self, status: ServiceStatus) -> None:
        self.changes.append((status.name, status.state))

    def index(self, name: str, state: State) -> int:
        return self.changes.index((name, state))


def test_starts_after_what_it_depends_on_and_stops_before_it(settings: StackSettings) -> None:
    """A service is launched when all it depends on is healthy, and what it depends on is told to end only
    after it has ended, whatever the order in which they were declared."""
    record = Record()
    services = [web_server("c", "b", "a"), web_server("b", "a"), web_server("a")]
    with Stack(services, settings, on_change=record) as stack:
        assert {one.state for one in stack.status()} == {State.HEALTHY}
        pids = [one.pid for one in stack.status()]
    for before, after in (("a", "b"), ("b", "c")):
        assert record.index(before, State.HEALTHY) < record.index(after, State.STARTING)
        assert record.index(after, State.STOPPED) < record.index(before, State.STOPPING)
    assert all(gone(pid) for pid in pids)


def test_a_service_stands_back_as_it_says(settings: StackSettings) -> None:
    """One that no order waits for runs with its niceness on top of ours, the others with ours."""
    services = [web_server("a"), replace(web_server("b"), niceness=3)]
    with Stack(services, settings) as stack:
        found = {name: psutil.Process(stack.pid(name)).nice() for name in ("a", "b")}
    ours = psutil.Process().nice()
    assert found == {"a": ours, "b": min(19, ours + 3)}


def test_killed_service_is_launched_again_and_others_are_left_alone(settings: StackSettings) -> None:
    """After kill -9 a service comes back under a new pid; what depends on it keeps its process."""
    with Stack([web_server("a"), web_server("b", "a")], settings) as stack:
        other = stack.pid("b")
        killed = stack.kill("a")
        stack.wait_healthy("a", not_pid=killed)
        assert stack.pid("a") != killed
        assert stack.pid("b") == other
        assert [one.restarts for one in stack.status()] == [1, 0]


def test_backoff_doubles_up_to_its_cap(tmp_path: Path) -> None:
    """A service that crashes again and again is launched after 50, 100, 200, 200 ms."""
    delays: list[str] = []

    def note(status: ServiceStatus) -> None:
        if status.state is State.BACKOFF:
            delays.append(status.detail)

    settings = StackSettings(data_dir=tmp_path, restart_backoff_ms=50, restart_backoff_ms_max=200)
    with Stack([web_server("a")], settings, on_change=note) as stack:
        for _ in range(4):
            stack.wait_healthy("a", not_pid=stack.kill("a"))
    assert delays == [f"signal SIGKILL, again in {ms} ms" for ms in (50, 100, 200, 200)]


@pytest.mark.parametrize("how", ["stop", "crash"])
def test_grandchildren_do_not_outlive_their_service(
    settings: StackSettings, tmp_path: Path, how: str
) -> None:
    """A child of a service, even in a session of its own, ends with the service, however that ends."""
    note = tmp_path / "a.child"
    with Stack([script("a", WITH_GRANDCHILD, str(note))], settings) as stack:
        grandchild = int(note.read_text())
        assert psutil.pid_exists(grandchild)
        if how == "crash":
            stack.kill("a")
            assert gone(grandchild)
    assert gone(grandchild)


def test_service_that_ignores_sigterm_is_killed_after_the_time_it_has(tmp_path: Path) -> None:
    """Stopping never hangs on a service: SIGKILL follows."""
    settings = StackSettings(data_dir=tmp_path, stop_timeout_s=0.5)
    with Stack([script("deaf", IGNORES_SIGTERM)], settings) as stack:
        pid = stack.pid("deaf")
    assert gone(pid)
    assert stack.status()[0].detail == "signal SIGKILL"


def test_service_is_stopped_by_sigterm_also_if_its_supervisor_ignores_it(settings: StackSettings) -> None:
    """What a process ignores its children ignore. A service has the default, and ends before the SIGKILL."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Stack([web_server("a")], settings) as stack:
            pid = stack.pid("a")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert gone(pid)
    assert stack.status()[0].detail == "signal SIGTERM"


def test_stopped_service_stays_stopped_until_started(settings: StackSettings) -> None:
    """stop_service is not a crash: nothing launches it again but start_service."""
    with Stack([web_server("a"), web_server("b", "a")], settings) as stack:
        stack.stop_service("a")
        with pytest.raises(ServiceError, match="a does not run"):
            stack.pid("a")
        assert [one.state for one in stack.status()] == [State.STOPPED, State.HEALTHY]
        stack.start_service("a")
        assert stack.pid("a") > 0


def test_paused_service_is_shown_unhealthy(settings: StackSettings) -> None:
    """A service that does not answer (here: SIGSTOP) is reported so, and healthy again when it answers."""
    seen = threading.Event()

    def note(status: ServiceStatus) -> None:
        if status.state is State.UNHEALTHY:
            seen.set()

    with Stack([web_server("a")], settings, on_change=note) as stack:
        pid = stack.kill("a", signal.SIGSTOP)
        assert seen.wait(PATIENCE_S)
        stack.kill("a", signal.SIGCONT)
        stack.wait_healthy("a")
        assert stack.pid("a") == pid


def test_service_that_never_gets_up_ends_the_start_with_its_log(settings: StackSettings) -> None:
    """start gives up after three launches, stops the others and shows the end of the log."""
    broken = Service(
        name="broken",
        argv=(sys.executable, "-c", "import sys; sys.exit('no such licence key')"),
        health=lambda attempt: "not yet",
    )
    stack = Stack([web_server("a"), broken], settings)
    with pytest.raises(ServiceError, match=r"(?s)broken failed: exit code 1.*no such licence key"):
        stack.start()
    assert {one.pid for one in stack.status()} == {0}
    assert (settings.data_dir / "log" / "broken.log").read_text().count("licence") == 3


def test_program_that_does_not_exist_is_named(settings: StackSettings) -> None:
    """A misspelt program ends the start with its name, not with a hang."""
    missing = Service(name="x", argv=("/nowhere/program",), health=lambda attempt: "not yet")
    with pytest.raises(ServiceError, match="/nowhere/program: No such file"):
        Stack([missing], settings).start()


def test_service_that_is_done_is_not_launched_again(settings: StackSettings) -> None:
    """A service without restart that ends with 0 has ended, which is no failure; with 1 it has failed."""
    done = Service("done", (sys.executable, "-c", ""), lambda attempt: "not yet", restart=False)
    with Stack([done], settings) as stack:
        assert stack.status()[0].state is State.ENDED
    bad = Service("bad", (sys.executable, "-c", "exit(1)"), lambda attempt: "not yet", restart=False)
    with pytest.raises(ServiceError, match="bad failed: exit code 1"):
        Stack([bad], settings).start()


def test_starting_one_starts_what_it_depends_on(settings: StackSettings) -> None:
    """Asked for one service, start brings up its dependencies too, and leaves the others."""
    services = [web_server("a"), web_server("b", "a"), web_server("c")]
    stack = Stack(services, settings)
    try:
        stack.start(["b"])
        assert [one.state for one in stack.status()] == [State.HEALTHY, State.HEALTHY, State.STOPPED]
    finally:
        stack.stop()


def test_failed_preparation_is_final(settings: StackSettings) -> None:
    """What a service says it cannot do before its launch is passed on as it is, and not tried again."""

    def refuse() -> None:
        raise SetupError("no storage here. Make some.")

    service = Service(name="x", argv=("true",), health=lambda attempt: "", prepare=refuse)
    with pytest.raises(ServiceError, match=r"x failed: no storage here\. Make some\."):
        Stack([service], settings).start()


def test_start_times_out_with_what_is_missing(tmp_path: Path) -> None:
    """A service that runs but is never healthy ends the start with what its check still misses."""
    settings = StackSettings(data_dir=tmp_path, start_timeout_s=2.0)
    idle = Service(
        name="idle",
        argv=(sys.executable, "-c", "import time; time.sleep(600)"),
        health=lambda attempt: "the licence server sleeps",
    )
    with pytest.raises(ServiceTimeout, match="the licence server sleeps"):
        Stack([idle], settings).start()


def test_taken_port_is_refused_with_its_holder(settings: StackSettings) -> None:
    """A port that another process listens on is named before anything is launched, with that process."""
    service = web_server("a")
    with Stack([service], settings), pytest.raises(SetupError) as refusal:
        Stack([service], settings.model_copy(update={"data_dir": settings.data_dir / "other"})).start()
    assert f"port {service.ports['a.port']} (a.port) is taken by pid" in str(refusal.value)
    assert "set TICKLOOM_A_PORT" in str(refusal.value)


def test_one_stack_per_data_directory(settings: StackSettings) -> None:
    """A second supervisor on the same directory is refused while the first one lives, and not after."""
    with Stack([web_server("a")], settings):
        assert supervisor_pid(settings.data_dir) == os.getpid()
        with pytest.raises(ServiceError, match="already"):
            Stack([web_server("b")], settings).start()
    assert supervisor_pid(settings.data_dir) == 0
    with Stack([web_server("b")], settings) as stack:
        assert stack.status()[0].state is State.HEALTHY


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a process with a stack of two services, one with a grandchild."""
    running: list[subprocess.Popen[bytes]] = []
    source = textwrap.dedent(
        """
        import pathlib, sys, threading
        sys.path.insert(0, str(pathlib.Path(sys.argv[1]).parent))
        import test_supervisor as t
        data_dir = pathlib.Path(sys.argv[2])
        services = [t.script("a", t.WITH_GRANDCHILD, str(data_dir / "a.child")), t.web_server("b", "a")]
        with t.Stack(services, t.StackSettings(data_dir=data_dir)):
            print("up", flush=True)
            threading.Event().wait()
        """
    )

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", source, __file__, str(tmp_path)], stdout=subprocess.PIPE
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_supervisor_that_is_killed(
    number: signal.Signals, tmp_path: Path, other_process: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """After kill -9 (or any other end) of the supervising process, its services and their children go."""
    supervisor = other_process()
    services = read_state(tmp_path)["services"]
    pids = [entry["pid"] for entry in services.values()] + [int((tmp_path / "a.child").read_text())]
    assert all(psutil.pid_exists(pid) for pid in pids)
    supervisor.send_signal(number)
    supervisor.wait(PATIENCE_S)
    assert [pid for pid in pids if not gone(pid)] == []


def test_killed_guard_takes_its_service_with_it(settings: StackSettings, tmp_path: Path) -> None:
    """Even a kill -9 of the guard process leaves no orphan, and the service comes back."""
    note = tmp_path / "a.child"
    with Stack([script("a", WITH_GRANDCHILD, str(note))], settings) as stack:
        pid, grandchild = stack.pid("a"), int(note.read_text())
        psutil.Process(pid).parent().kill()
        assert gone(pid)
        assert gone(grandchild)
        stack.wait_healthy("a", not_pid=pid)


def test_children_see_the_stacks_settings_and_no_foreign_java(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment given to the stack reaches each service; JAVA_TOOL_OPTIONS of the caller does not."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    with Stack([web_server("a")], settings, environment={"TICKLOOM_KAFKA_PORT": "1234"}) as stack:
        environment = psutil.Process(stack.pid("a")).environ()
    assert environment["TICKLOOM_KAFKA_PORT"] == "1234"
    assert "JAVA_TOOL_OPTIONS" not in environment
