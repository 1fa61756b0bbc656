"""Mutated frames into every decoder: an event or a typed error each time, bounded time and memory, no crash.

``make fuzz ARGS="--frames 10000000 --seed 7 --decoder itch"``. A failure saves the frames that show it and
prints the command that repeats it. ``--bounds-check``: Numba checks each index (slow; a cache of its own).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

SAVED = Path("var/fuzz")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Fuzz what is named; the exit code says whether something was found."""
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000, help="mutated frames for each decoder")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--decoder", action="append", default=[], help="again for more; all if not given")
    parser.add_argument("--replay", type=Path, help="decode the frames of a failure once more")
    parser.add_argument("--bounds-check", action="store_true", help="Numba checks every index")
    parser.add_argument("--batch-cpu-s", type=float, default=60.0, help="CPU time of a batch; more is a hang")
    parser.add_argument("--saved", type=Path, default=SAVED, help="where frames of a failure go")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each decoder")
    arguments = parser.parse_args()
    if arguments.bounds_check and os.environ.get("NUMBA_BOUNDSCHECK") != "1":
        cache = Path(tempfile.gettempdir()) / "tickloom-fuzz-checked"
        cache.mkdir(exist_ok=True)
        os.environ.update(NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(cache))
        os.execv(
            sys.executable, [sys.executable, "-m", "tests.fuzz", *sys.argv[1:]]
        )  # before Numba is imported

    from tests.fuzz.child import Limits
    from tests.fuzz.registry import TARGETS, target_class
    from tests.fuzz.run import Outcome, fuzz, replay

    limits = Limits(batch_cpu_s=arguments.batch_cpu_s)
    if arguments.replay:
        why = replay(arguments.replay, limits)
        say(why or "these frames do no harm")
        return 1 if why else 0
    unknown = [name for name in arguments.decoder if name not in TARGETS and ":" not in name]
    if unknown:
        parser.error(f"no decoder {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    say(f"seed {arguments.seed}")
    began_s = time.monotonic()

    def progress(outcome: Outcome) -> None:
        say(f"  {time.monotonic() - began_s:5.0f} s  {outcome.summary()}")

    failed = 0
    for name in arguments.decoder or TARGETS:
        target_class(name)  # imported here, once for all children
    for name in arguments.decoder or TARGETS:
        outcome = fuzz(name, arguments.seed, arguments.frames, limits, arguments.saved, progress)
        if arguments.json:
            say(json.dumps({**vars(outcome), "saved": str(outcome.saved or "")}))
        else:
            say(outcome.summary())
        if outcome.failure:
            failed += 1
            say(f"{name}, seed {arguments.seed}, batch {outcome.batch}: {outcome.failure}")
            if outcome.saved:
                say(f'again: make fuzz ARGS="--replay {outcome.saved}"')
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
