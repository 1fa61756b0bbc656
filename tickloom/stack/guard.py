"""One service's process tree, tied to the life of its owner: runs between supervisor and service.

Run as ``python -I -S guard.py CONTROL_FD REPORT_FD MARKER NICENESS PROGRAM ARG...`` in a session of its
own. It imports nothing but the standard library, so it starts in 20 ms and takes 8 MB.

- A byte on CONTROL_FD is a signal number, passed on to the service. End of file there means that
  the owner is gone, however it ended: the service and everything below it is killed at once.
- Children that lose their parent (Dagster's code servers, PyFlink's workers) are adopted, and are
  killed when the service ends.
- Its first line on REPORT_FD is the service's pid.
- If the guard itself is killed, the kernel kills the service (PR_SET_PDEATHSIG); the owner finds
  what is left by MARKER, which stands in the environment of the whole tree.
- The guard ends as the service did: same exit code, or same signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
MARKER_VARIABLE = "TICKLOOM_GUARD"
SWEEP_ROUNDS_MAX = 1_000  # of 10 ms: a process that SIGKILL does not end within 10 s is the kernel's


def main(argv: list[str]) -> int:
    control_fd, report_fd, marker, command = int(argv[0]), int(argv[1]), argv[2], argv[4:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ[MARKER_VARIABLE] = marker
    os.set_inheritable(control_fd, False)
    os.set_inheritable(report_fd, False)

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for ignored in (signal.SIGINT, signal.SIGHUP):  # the terminal's: the supervisor decides
        signal.signal(ignored, signal.SIG_IGN)

    child = _spawn(libc, command, niceness=int(argv[3]))
    signal.signal(signal.SIGTERM, lambda *_: _signal(child, signal.SIGTERM))
    os.write(report_fd, b"%d\n" % child)
    os.close(report_fd)

    while True:
        ready, _, _ = select.select([control_fd, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            status = _reap(child)
            if status is not None:
                _kill_descendants()
                return _end_like(status)
        if control_fd in ready:
            orders = os.read(control_fd, 64)
            if not orders:
                _signal(child, signal.SIGKILL)
                _kill_descendants()
                return 0
            for number in orders:
                _signal(child, number)


def _spawn(libc: ctypes.CDLL, command: list[str], niceness: int) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setpgid(0, 0)  # what the service sends to its own group does not reach the guard
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
        os.nice(niceness)
        signal.set_wakeup_fd(-1)
        # SIGTERM, too: the supervisor may have inherited that it is ignored, and a stop would only wait
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _signal(pid: int, number: int) -> None:
    # never a reused pid: this process has not reaped the child yet, or it would have ended
    with contextlib.suppress(ProcessLookupError, ValueError):
        os.kill(pid, number)


def _reap(child: int) -> int | None:
    """Reap all that ended; the wait status of ``child`` if it was among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status


def _kill_descendants() -> None:
    """Kill children until there are none: the children of a dead child become ours."""
    for _ in range(SWEEP_ROUNDS_MAX):
        children = _children()
        for pid in children:
            _signal(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        select.select([], [], [], 0.01)


def _children() -> list[int]:
    me = str(os.getpid())
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208 (pathlib would double the time to start)
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:  # noqa: PTH123
                    # pid (name that may hold spaces and brackets) state ppid
                    parent = file.read().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent == me:
                found.append(int(entry))
    return found


def _end_like(status: int) -> int:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
