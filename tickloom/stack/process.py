"""One launch of one service: the guard, the process under it, and the pipes between them and us."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tickloom.errors import ServiceError
from tickloom.stack import guard

SPAWN_TIMEOUT_S = 20.0


class GuardedProcess:
    """A running command whose whole process tree ends with it, and with this process.

    Parameters
    ----------
    log_file : Path
        Takes standard output and error, appended.
    niceness : int
        Of the whole tree, on top of ours: 0 to 19, see nice(2).

    Attributes
    ----------
    pid : int
        Of the command itself, not of its guard.

    Raises
    ------
    ServiceError
        The guard does not start. A command that cannot be executed ends with exit code 127 instead,
        the reason in ``log_file``.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], log_file: Path, niceness: int = 0
    ) -> None:
        self.marker = uuid.uuid4().hex
        control_read, self._control = os.pipe()
        report_read, report_write = os.pipe()
        try:
            with log_file.open("ab") as log:
                # -I -S: nothing of the environment or of site-packages can break or slow the guard
                self._guard = subprocess.Popen(
                    [
                        *(sys.executable, "-I", "-S", guard.__file__),
                        *(str(control_read), str(report_write), self.marker, str(niceness)),
                        *argv,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(environment),
                    pass_fds=(control_read, report_write),
                    start_new_session=True,
                )
            os.close(report_write)
            report_write = -1
            self.pid = self._read_report(report_read, argv)
        except BaseException:
            os.close(self._control)
            raise
        finally:
            for fd in (control_read, report_read, report_write):
                if fd >= 0:
                    os.close(fd)

    def _read_report(self, report: int, argv: Sequence[str]) -> int:
        ready, _, _ = select.select([report], [], [], SPAWN_TIMEOUT_S)
        line = os.read(report, 32) if ready else b""  # one short write: it comes whole
        if not line:
            self._guard.kill()
            self._guard.wait()
            raise ServiceError(f"{argv[0]}: no process came of it within {SPAWN_TIMEOUT_S:.0f} s")
        return int(line)

    def signal(self, number: int) -> None:
        """Send a signal to the command. One that has ended already does not mind."""
        with contextlib.suppress(OSError):
            os.write(self._control, bytes([number]))

    def poll(self) -> int | None:
        """None while it runs; then its exit code, or minus the signal that ended it.

        When this is not None nothing of the process tree is left.
        """
        code = self._guard.poll()
        if code is not None and self._control >= 0:
            os.close(self._control)
            self._control = -1
            if code == -signal.SIGKILL:  # perhaps the guard itself was killed, and could not tidy up
                sweep(self.marker)
        return code

    def kill(self) -> None:
        """SIGKILL to the command; its guard takes the rest of the tree with it."""
        self.signal(signal.SIGKILL)


def sweep(marker: str) -> int:
    """Kill what carries ``marker`` in its environment; how many there were."""
    count = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get(guard.MARKER_VARIABLE) == marker:
                process.kill()
                count += 1
        except psutil.Error:
            continue
    return count


def exit_text(code: int) -> str:
    """``exit code 1`` or ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
