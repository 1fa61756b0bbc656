"""A decoder in a process of its own: a crash, a hang or a flood of memory ends that process and no other.

The child says on a pipe which batch it begins and what came of it. CPU time is limited by a signal that
needs no interpreter, since a compiled loop lets none in; memory by the kernel of the machine.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.registry import target_class
from tests.fuzz.target import Target

BATCH_CPU_S_MAX = 60.0  # a rare frame may need a kernel that is not compiled yet
WARM_UP_FRAMES = 50
TRIAL_CPU_S_MAX = 10.0  # nothing is compiled any more
FRAME_CPU_MS_MAX = 20.0  # of a batch's mean; most need 0.2, a file that is loaded twice (dbn_file) 3 to 6
MEMORY_GROWTH_MB_MAX = 512  # of resident memory, over all batches behind the first few
ADDRESS_SPACE_MB_MAX = 2_048  # of what is asked for, beyond what stands when all is loaded
SETTLED_BATCHES = 5
TRIALS_MAX = 400


@dataclass
class Limits:
    """What a child may use."""

    batch_cpu_s: float = BATCH_CPU_S_MAX
    frame_cpu_ms: float = FRAME_CPU_MS_MAX
    growth_mb: int = MEMORY_GROWTH_MB_MAX


class TooMuchError(Exception):
    """A decoder that takes more time or memory than it may."""


def batch_frames(target: Target, seed: int, batch: int) -> tuple[list[bytes], int]:
    """Frames of a batch: of target, seed and number alone."""
    return target.mutated(random.Random(f"{seed}:{target.name}:{batch}"))


def run_batches(name: str, seed: int, frames_wanted: int, pipe: int, limits: Limits) -> None:
    """Fuzz until so many mutated frames were decoded; the body of a child."""
    quiet()
    target = target_class(name)()
    target.decode(
        target.tapes[0][:WARM_UP_FRAMES]
    )  # compiles, or loads, what is compiled: no limit holds yet
    with contextlib.suppress(OSError, ValueError):
        limit_address_space()
    gc.freeze()  # what is loaded stays: a tenth of the time went into looking at it again
    mutated = given = batch = 0
    base_mb = peak_mb = 0.0
    counts: Counter[str] = Counter()
    slowest_ms = 0.0
    while mutated < frames_wanted:
        say(pipe, batch=batch)
        frames, changed = batch_frames(target, seed, batch)
        with cpu_limit(limits.batch_cpu_s):
            found, cpu_s = timed(target, frames)
        frame_ms = 1_000 * cpu_s / max(1, len(frames))
        if frame_ms > limits.frame_cpu_ms:  # once more: it may have compiled something
            found, cpu_s = timed(target, frames)
            frame_ms = 1_000 * cpu_s / max(1, len(frames))
            if frame_ms > limits.frame_cpu_ms:
                raise TooMuchError(f"{frame_ms:.2f} ms of CPU a frame; {limits.frame_cpu_ms} are allowed")
        slowest_ms = max(slowest_ms, frame_ms)
        counts += found
        given += len(frames)
        mutated += changed
        batch += 1
        peak_mb = max(peak_mb, resident_mb())
        if batch <= SETTLED_BATCHES:
            base_mb = peak_mb
        elif peak_mb - base_mb > limits.growth_mb:
            raise TooMuchError(f"memory grew by {peak_mb - base_mb:.0f} MB; {limits.growth_mb} are allowed")
        used = resource.getrusage(resource.RUSAGE_SELF)
        say(
            pipe,
            mutated=mutated,
            given=given,
            cpu_s=used.ru_utime + used.ru_stime,
            growth_mb=peak_mb - base_mb,
            slowest_ms=slowest_ms,
            counts=dict(counts),
        )


def timed(target: Target, frames: Sequence[bytes]) -> tuple[Counter[str], float]:
    began_s = time.process_time()
    found = target.decode(frames)
    return found, time.process_time() - began_s


def child_main(name: str, seed: int, frames_wanted: int, pipe: int, limits: Limits) -> None:
    """Run batches; an exception is said on the pipe. Never returns to the caller's stack."""
    code = 0
    try:
        run_batches(name, seed, frames_wanted, pipe, limits)
    except BaseException:
        code = 1
        say(pipe, failure=traceback.format_exc())
    finally:
        sys.stdout.flush()
        os._exit(code)


def fails(target: Target, frames: Sequence[bytes], limits: Limits, report: Path | None = None) -> bool:
    """Whether frames still end a process of their own badly."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            with cpu_limit(min(limits.batch_cpu_s, TRIAL_CPU_S_MAX)):
                _, cpu_s = timed(target, frames)
            if cpu_s * 1_000 > max(1_000.0, limits.frame_cpu_ms * len(frames)):
                raise TooMuchError(f"{cpu_s:.1f} s of CPU for {len(frames)} frames")
        except BaseException:
            code = 1
            if report:
                report.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if report and os.WIFSIGNALED(status):
        report.write_text(f"ended by {signal.Signals(os.WTERMSIG(status)).name}\n")
    return status != 0


def shrunk(target: Target, frames: list[bytes], limits: Limits) -> list[bytes]:
    """Fewer frames that still fail, by leaving out ever smaller stretches."""
    trials, size = 0, len(frames) // 2
    while size >= 1 and trials < TRIALS_MAX:
        at = 0
        while at < len(frames) and trials < TRIALS_MAX:
            fewer = frames[:at] + frames[at + size :]
            trials += 1
            if fewer and fails(target, fewer, limits):
                frames = fewer
            else:
                at += size
        size //= 2
    return frames


def quiet() -> None:
    """No core files: a crash is expected here. A number that silently becomes another one is a fault."""
    warnings.simplefilter("error", RuntimeWarning)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_address_space() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + ADDRESS_SPACE_MB_MAX * (1 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


@contextlib.contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """SIGPROF ends the process when it has used so much CPU: no handler, so compiled code cannot hold it."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def say(pipe: int, **what: Any) -> None:
    raw = json.dumps(what).encode() + b"\n"
    while raw:
        raw = raw[os.write(pipe, raw) :]
