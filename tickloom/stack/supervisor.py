"""A set of services, started in order, watched, restarted, and stopped in reverse order.

One thread drives a small state machine per service; slow things (launches, health checks) run in a
pool beside it. Everything a caller asks for is a wish (``wanted``) that the thread carries out.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import IO, Self

import structlog

from tickloom.clock import NS_PER_MS, NS_PER_S, Clock, SystemClock
from tickloom.errors import ServiceError, ServiceTimeout, SetupError, TickloomError
from tickloom.settings import StackSettings
from tickloom.stack import ports
from tickloom.stack.logs import tail, trim
from tickloom.stack.process import GuardedProcess, exit_text, sweep
from tickloom.stack.runner import Runner, backoff_ms
from tickloom.stack.service import Service
from tickloom.stack.state import RUNNING, SETTLED, ServiceStatus, State, lock, read_state, write_state

TICK_S = 0.02
PROBE_STARTING_NS = 100 * NS_PER_MS
PROBE_HEALTHY_NS = 5 * NS_PER_S
LOG_TRIM_NS = 10 * NS_PER_S
PORT_TRIES = 5
PORT_RETRY_S = 0.3
FIRST_LAUNCHES_MAX = 3  # of a service that was never healthy: it is not going to be
STEADY_NS = 30 * NS_PER_S  # healthy for so long: the next crash is a new one, its backoff starts anew

log = structlog.get_logger(__name__)

# Of the caller's environment: each makes a JVM or a server behave as somebody else configured it.
FOREIGN_VARIABLES = (
    "CLASSPATH", "FLINK_CONF_DIR", "FLINK_ENV_JAVA_OPTS", "FLINK_HOME", "FLINK_PROPERTIES",
    "HADOOP_CLASSPATH", "JAVA_HOME", "JAVA_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JVM_ARGS",
    "KAFKA_HEAP_OPTS", "KAFKA_OPTS", "_JAVA_OPTIONS",
)  # fmt: skip


class Stack:
    """Runs ``services`` until it is stopped. Use it as a context manager, or call start and stop.

    Parameters
    ----------
    services : sequence of Service
        In any order; what a service depends on and is not among them is taken to be there.
    settings : StackSettings
        Data directory and time-outs. Logs go to ``data_dir/log``, state to ``data_dir/run``.
    environment : mapping, optional
        Variables of every service on top of the caller's: the settings of the stack.
    on_change : callable, optional
        Called, from the supervising thread, with each new ServiceStatus.

    Raises
    ------
    ServiceError
        Another stack runs on the same data directory.
    """

    def __init__(
        self,
        services: Sequence[Service],
        settings: StackSettings,
        *,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        on_change: Callable[[ServiceStatus], None] | None = None,
    ) -> None:
        self.data_dir = settings.data_dir.absolute()
        self.settings = settings
        self._clock = clock or SystemClock()
        self._on_change = on_change
        inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
        self._environment = {**inherited, **(environment or {})}
        logs = self.data_dir / "log"
        self._runners = {one.name: Runner(one, logs / f"{one.name}.log") for one in services}
        for runner in self._runners.values():
            for name in runner.service.depends_on:
                if name in self._runners:
                    self._runners[name].dependents.append(runner)
        self._changed = threading.Condition()
        self._ordered_stop = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock_file: IO[str] | None = None
        self._trim_at_ns = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ---- what a caller asks for

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._runners)

    def start(self, names: Iterable[str] | None = None, *, wait: bool = True) -> None:
        """Start the services (all by default), and what they depend on, in the order of dependencies.

        Raises
        ------
        ServiceError
            A service fails; the others are stopped, and the error carries the end of its log.
        ServiceTimeout
            One is not healthy within ``start_timeout_s``.
        SetupError
            A port is taken.
        """
        wanted = self._with_dependencies(self._runners if names is None else names)
        self._open()
        try:
            with self._changed:
                idle = [one for one in map(self._runner, wanted) if one.state not in RUNNING]
                self._claim_ports({key: port for one in idle for key, port in one.service.ports.items()})
                for runner in idle:
                    runner.wanted, runner.was_healthy, runner.crashes = True, False, 0
                    self._set(runner, State.WAITING)
            if wait:
                deadline_ns = self._clock.monotonic_ns() + int(self.settings.start_timeout_s * NS_PER_S)
                for name in wanted:
                    self._wait_healthy(name, deadline_ns)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, dependents first. When this returns no process of the stack is left."""
        if self._thread is None:
            self._close()
            return
        with self._changed:
            self._ordered_stop = True
            for runner in self._runners.values():
                runner.wanted = False
            self._changed.wait_for(lambda: all(one.state is State.STOPPED for one in self._runners.values()))
        self._close()

    def stop_service(self, name: str) -> None:
        """Stop one service and leave it stopped; what depends on it goes on without it."""
        with self._changed:
            runner = self._runner(name)
            runner.wanted = False
            self._changed.wait_for(lambda: runner.state is State.STOPPED)

    def start_service(self, name: str, *, wait: bool = True) -> None:
        """Start one service that was stopped."""
        with self._changed:
            runner = self._runner(name)
            if runner.state not in RUNNING:
                runner.wanted, runner.crashes = True, 0
                self._set(runner, State.WAITING)
        if wait:
            self.wait_healthy(name)

    def restart(self, name: str) -> None:
        """Stop one service, start it again, wait until it is healthy."""
        self.stop_service(name)
        self.start_service(name)

    def pid(self, name: str) -> int:
        """Process id of a running service.

        Raises
        ------
        ServiceError
            It does not run now.
        """
        with self._changed:
            process = self._runner(name).process
            if process is None:
                raise ServiceError(f"{name} does not run; see {self._runner(name).log_file}")
            return process.pid

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal (SIGKILL by default); returns the pid it went to. A service that ends by it is
        launched again, as after any crash."""
        with self._changed:
            pid = self.pid(name)
            process = self._runner(name).process
            assert process is not None
            process.signal(number)
            return pid

    def wait_healthy(self, name: str, timeout_s: float | None = None, *, not_pid: int = 0) -> None:
        """Block until the service is healthy, or has ended well if it is not to be launched again.

        Parameters
        ----------
        not_pid : int
            After :meth:`kill`, its result: wait for another launch than the one that was killed.
        """
        limit_s = self.settings.start_timeout_s if timeout_s is None else timeout_s
        self._wait_healthy(name, self._clock.monotonic_ns() + int(limit_s * NS_PER_S), not_pid)

    def wait_ended(self, name: str, pid: int) -> None:
        """Block until the launch that had ``pid`` is over."""
        with self._changed:
            runner = self._runner(name)
            self._changed.wait_for(lambda: runner.process is None or runner.process.pid != pid)

    def status(self) -> list[ServiceStatus]:
        """All services, in the order given."""
        with self._changed:
            return [runner.status() for runner in self._runners.values()]

    # ---- the supervising thread

    def _run(self) -> None:
        with ThreadPoolExecutor(max_workers=2 * len(self._runners) + 1, thread_name_prefix="stack") as pool:
            while not self._closing.wait(TICK_S):
                with self._changed:
                    for runner in self._runners.values():
                        try:
                            self._step(runner, pool)
                        except Exception:  # a bug here must not leave the others without supervision
                            log.exception("supervision", service=runner.service.name)
                now_ns = self._clock.monotonic_ns()
                if now_ns >= self._trim_at_ns:
                    self._trim_at_ns = now_ns + LOG_TRIM_NS
                    for runner in self._runners.values():
                        trim(runner.log_file)

    def _step(self, runner: Runner, pool: ThreadPoolExecutor) -> None:
        now_ns = self._clock.monotonic_ns()
        if runner.launch is not None:
            if runner.launch.done():
                self._launched(runner)
        elif runner.process is not None:
            code = runner.process.poll()
            if code is not None:
                self._ended(runner, code)
            elif runner.state is State.STOPPING:
                if now_ns >= runner.kill_at_ns:
                    runner.process.kill()
            elif not runner.wanted:
                if not (self._ordered_stop and any(one.process for one in runner.dependents)):
                    runner.process.signal(signal.SIGTERM)
                    runner.kill_at_ns = now_ns + int(self.settings.stop_timeout_s * NS_PER_S)
                    self._set(runner, State.STOPPING)
            else:
                self._probe(runner, pool, now_ns)
        elif not runner.wanted:
            if runner.state is not State.STOPPED:
                self._set(runner, State.STOPPED)
        elif runner.state is State.WAITING:
            missing = [name for name in runner.service.depends_on if not self._is_up(name)]
            if missing:
                runner.detail = f"for {', '.join(missing)}"
            else:
                self._launch(runner, pool)
        elif runner.state is State.BACKOFF and now_ns >= runner.retry_at_ns:
            self._launch(runner, pool)

    def _is_up(self, name: str) -> bool:
        return name not in self._runners or self._runners[name].state in SETTLED

    def _launch(self, runner: Runner, pool: ThreadPoolExecutor) -> None:
        runner.attempt += 1
        runner.probe, runner.probe_at_ns = None, 0
        service, attempt = runner.service, str(runner.attempt)
        argv = [part.replace("{attempt}", attempt) for part in service.argv]

        def launch() -> GuardedProcess:
            if service.prepare is not None:
                service.prepare()
            runner.log_file.parent.mkdir(parents=True, exist_ok=True)
            environment = {**self._environment, **service.environment}
            return GuardedProcess(argv, environment, runner.log_file, service.niceness)

        runner.launch = pool.submit(launch)
        self._set(runner, State.STARTING)

    def _launched(self, runner: Runner) -> None:
        assert runner.launch is not None
        launch, runner.launch = runner.launch, None
        try:
            runner.process = launch.result()
        except Exception as error:  # whatever it is, it belongs to this service, not to the others
            gives_up = isinstance(error, TickloomError) and not runner.was_healthy
            self._crashed(runner, str(error) or repr(error), gives_up=gives_up)
        else:
            self._write_state()

    def _ended(self, runner: Runner, code: int) -> None:
        runner.process = None
        if runner.state is State.STOPPING or not runner.wanted:
            self._set(runner, State.STOPPED, exit_text(code))
        elif code == 0 and not runner.service.restart:
            self._set(runner, State.ENDED, exit_text(code))
        else:
            self._crashed(runner, exit_text(code), gives_up=not runner.service.restart)

    def _crashed(self, runner: Runner, why: str, *, gives_up: bool) -> None:
        now_ns = self._clock.monotonic_ns()
        if runner.was_healthy and now_ns - runner.healthy_ns >= STEADY_NS:
            runner.crashes = 0
        runner.crashes += 1
        if gives_up or (not runner.was_healthy and runner.crashes >= FIRST_LAUNCHES_MAX):
            self._set(runner, State.FAILED, why)
            return
        delay_ms = backoff_ms(runner.crashes, self.settings)
        runner.retry_at_ns = now_ns + delay_ms * NS_PER_MS
        self._set(runner, State.BACKOFF, f"{why}, again in {delay_ms} ms")

    def _probe(self, runner: Runner, pool: ThreadPoolExecutor, now_ns: int) -> None:
        if runner.probe is None:
            if now_ns >= runner.probe_at_ns:
                runner.probe = pool.submit(runner.service.health, runner.attempt)
            return
        if not runner.probe.done():
            return
        probe, runner.probe = runner.probe, None
        try:
            missing = probe.result()
        except Exception as error:  # a broken check must not end the supervision of the others
            missing = repr(error)
        up = runner.state is State.HEALTHY
        runner.probe_at_ns = now_ns + (PROBE_HEALTHY_NS if up and not missing else PROBE_STARTING_NS)
        if not missing and not up:
            runner.was_healthy, runner.healthy_ns = True, now_ns
            self._set(runner, State.HEALTHY)
        elif missing and up:
            self._set(runner, State.UNHEALTHY, missing)
        elif missing:
            runner.detail = missing

    # ---- shared

    def _runner(self, name: str) -> Runner:
        try:
            return self._runners[name]
        except KeyError:
            raise ServiceError(f"no service {name!r} here; there are {', '.join(self._runners)}") from None

    def _with_dependencies(self, names: Iterable[str]) -> list[str]:
        found: dict[str, None] = {}
        for name in names:
            known = [one for one in self._runner(name).service.depends_on if one in self._runners]
            found.update(dict.fromkeys([*self._with_dependencies(known), name]))
        return list(found)

    def _set(self, runner: Runner, state: State, detail: str = "") -> None:
        runner.state, runner.detail = state, detail
        self._write_state()
        self._changed.notify_all()
        if self._on_change is not None:
            self._on_change(runner.status())

    def _wait_healthy(self, name: str, deadline_ns: int, not_pid: int = 0) -> None:
        with self._changed:
            runner = self._runner(name)

            def settled() -> bool:
                if runner.state in (State.FAILED, State.ENDED):
                    return True
                return (
                    runner.state is State.HEALTHY
                    and runner.process is not None
                    and runner.process.pid != not_pid
                )

            while not settled():
                left_s = (deadline_ns - self._clock.monotonic_ns()) / NS_PER_S
                if left_s <= 0 or self._thread is None:
                    raise ServiceTimeout(
                        f"{name} is not healthy in time: {runner.state} {runner.detail}. "
                        f"{self._log_end(runner)}"
                    )
                self._changed.wait(min(left_s, 1.0))
            if runner.state is State.FAILED:
                raise ServiceError(f"{name} failed: {runner.detail}. {self._log_end(runner)}")

    def _log_end(self, runner: Runner) -> str:
        lines = tail(runner.log_file, 15)
        return f"The end of {runner.log_file}:\n" + "\n".join(f"    {line}" for line in lines)

    def _claim_ports(self, wanted: Mapping[str, int]) -> None:
        for _ in range(PORT_TRIES):  # the guards of a stack that was killed may still be at it
            lines = ports.taken(wanted)
            if not lines:
                return
            self._changed.wait(PORT_RETRY_S)
        raise SetupError("; ".join(lines))

    def _open(self) -> None:
        if self._thread is not None:
            return
        self._lock_file = lock(self.data_dir)
        if self._lock_file is None:
            raise ServiceError(
                f"a stack runs on {self.data_dir} already: see `tickloom status`, end it with `tickloom down`"
            )
        for entry in read_state(self.data_dir).get("services", {}).values():
            if marker := entry.get("marker"):
                sweep(marker)
        self._ordered_stop = False
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, name="stack", daemon=True)
        self._thread.start()

    def _close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._lock_file is not None:
            self._write_state()
            self._lock_file.close()
            self._lock_file = None

    def _write_state(self) -> None:
        entries = {name: runner.entry() for name, runner in self._runners.items()}
        state = {"supervisor": os.getpid(), "written_ns": self._clock.now_ns(), "services": entries}
        write_state(self.data_dir, state)
