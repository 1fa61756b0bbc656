"""ITCH 5.0 files to columns, and to best quotes over the full book, in messages per second of one core.

python -m benchmarks.feeds [--itch FILE] [--messages N] [--runs N]

Plays a generated file (the lines say ``"input": "generated"``), or FILE, plain or gzipped. The bytes are in
memory before the clock starts, and each batch of columns is written over the one before, as a bulk load
does it that has passed them on. ``value`` is messages over the median of the runs' wall time, ``value_cpu``
over the median of their CPU time: on a machine that others use the fairer one. ``compile_s`` is what a
first call took more than a later one. The baseline, on the first messages of the same file, is a struct of
each type and a list of tuples a type; of the book, beside it, dicts of orders and of levels. Where cargo is
on the PATH, the Rust crate itchy decodes the same file, in turn with ours; else the line says so.
``to_itchy`` is the median, over the turns, of its time over ours.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks._itch_file import itch_file
from ingest.itch.columns import BATCH_BYTES, decode_columns
from ingest.itch.messages import LAYOUTS
from ingest.itch.quotes import QuoteRunner
from ingest.pcap import open_plain

MESSAGES = 5_000_000
BASELINE_MESSAGES = 200_000
ITCHY = "0.3.4"
_CARGO = (
    f'[package]\nname = "feed"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nitchy = "={ITCHY}"\n'
)
# It decodes the file once for each line that it gets.
_RUST = """fn main() {
    let bytes = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    for _ in std::io::stdin().lines() {
        let (mut count, mut sum) = (0u64, 0u64);
        for message in itchy::MessageStream::from_reader(&bytes[..]) {
            let message = message.unwrap();
            count += 1;
            sum = sum.wrapping_add(message.timestamp).wrapping_add(message.tag as u64);
        }
        println!("{} {}", count, sum);
    }
}
"""


def decode_all(data: NDArray[np.uint8]) -> int:
    """Decode a batch at a time; the number of messages."""
    at = number = 0
    memory = None
    while at < len(data):
        columns = decode_columns(data[at : at + BATCH_BYTES], number + 1, memory)
        memory = columns.memory
        if not columns.messages:
            break
        at += columns.consumed
        number += columns.messages
    return number


def book_all(data: NDArray[np.uint8]) -> int:
    """Run the books a batch at a time; the number of best quotes."""
    runner = QuoteRunner()
    at = number = quotes = 0
    while at < len(data):
        found = runner.run(data[at : at + BATCH_BYTES], number + 1)
        if not found.messages:
            break
        at += found.consumed
        number += found.messages
        quotes += len(found)
    return quotes


class StructReader:
    """The usual way: a struct a type; with ``books``, dicts of orders and levels, a tuple a best quote."""

    def __init__(self) -> None:
        codes = {1: "B", 2: "H", 4: "I", 6: "6s", 8: "Q"}
        self._structs = {
            ord(letter): struct.Struct(
                ">" + "".join(f"{f.size}s" if f.kind == "a" else codes[f.size] for f in layout.fields)
            )
            for letter, layout in LAYOUTS.items()
        }
        self.tables: dict[int, list[tuple[Any, ...]]] = {kind: [] for kind in self._structs}
        self.quotes: list[tuple[Any, ...]] = []
        self._orders: dict[int, list[Any]] = {}
        self._levels: dict[tuple[int, bytes], dict[int, int]] = {}

    def read(self, data: bytes, books: bool, limit: int) -> int:
        at = number = 0
        while at + 2 < len(data) and number < limit:
            kind = data[at + 2]
            fields = self._structs[kind].unpack_from(data, at + 2)
            at += 2 + self._structs[kind].size
            number += 1
            if books:
                self._apply(chr(kind), fields)
            else:
                self.tables[kind].append((*fields[1:3], int.from_bytes(fields[3], "big"), *fields[4:]))
        return number

    def _apply(self, kind: str, fields: tuple[Any, ...]) -> None:
        if kind in "AF":
            reference, side, shares, _, price = fields[4:9]
            self._orders[reference] = [side, price, shares]
            self._change(fields, side, [(price, shares)])
        elif kind in "ECXDU" and fields[4] in self._orders:
            side, price, resting = order = self._orders[fields[4]]
            shares = resting if kind in "DU" else min(fields[5], resting)
            order[2] -= shares
            if not order[2]:
                del self._orders[fields[4]]
            changes = [(price, -shares)]
            if kind == "U":
                self._orders[fields[5]] = [side, fields[7], fields[6]]
                changes.append((fields[7], fields[6]))
            self._change(fields, side, changes)

    def _change(self, fields: tuple[Any, ...], side: bytes, changes: list[tuple[int, int]]) -> None:
        levels = self._levels.setdefault((fields[1], side), {})
        best = max if side == b"B" else min
        before = (best(levels), levels[best(levels)]) if levels else None
        for price, change in changes:
            total = levels.get(price, 0) + change
            if total > 0:
                levels[price] = total
            else:
                levels.pop(price, None)
        after = (best(levels), levels[best(levels)]) if levels else None
        if after != before:
            self.quotes.append((int.from_bytes(fields[3], "big"), fields[1], side, after))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall and of CPU time."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def line(metric: str, messages: int, took: tuple[float, float], runs: int, **more: Any) -> None:
    wall, cpu = took
    print(
        json.dumps(
            {
                "metric": metric,
                "value": round(messages / wall),
                "unit": "messages/s",
                "value_cpu": round(messages / cpu),
                "cpu_s": round(cpu, 4),
                "runs": runs,
                "messages": messages,
                **more,
            }
        ),
        flush=True,
    )


class Itchy:
    """The Rust crate over the same bytes, in a process of its own; without cargo ``why`` says so."""

    def __init__(self, data: NDArray[np.uint8], folder: Path) -> None:
        self._program: subprocess.Popen[str] | None = None
        self.why = ""
        if shutil.which("cargo") is None:
            self.why = "no cargo on the PATH"
            return
        (folder / "src").mkdir()
        (folder / "Cargo.toml").write_text(_CARGO)
        (folder / "src" / "main.rs").write_text(_RUST)
        data.tofile(folder / "file")
        build = ["cargo", "build", "--release", "--quiet"]
        done = subprocess.run(build, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            self.why = done.stderr.strip().splitlines()[-1]
            return
        command = [str(folder / "target" / "release" / "feed"), str(folder / "file")]
        pipe = subprocess.PIPE
        self._program = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def decode(self) -> tuple[int, float, float]:
        """Messages, and seconds of wall and of CPU time; zeros where there is none."""
        if self._program is None:
            return 0, 0.0, 0.0
        assert self._program.stdin
        assert self._program.stdout
        watched = psutil.Process(self._program.pid)
        wall, cpu = time.perf_counter(), sum(watched.cpu_times()[:2])
        print(file=self._program.stdin, flush=True)
        answer = self._program.stdout.readline()
        if not answer:
            raise SystemExit("itchy ended on this file; what it says is above")
        messages = int(answer.split()[0])
        return messages, time.perf_counter() - wall, sum(watched.cpu_times()[:2]) - cpu

    def close(self) -> None:
        if self._program is not None:
            self._program.communicate()


def in_turn(
    work: Callable[[], object], itchy: Itchy, runs: int
) -> tuple[tuple[float, float], dict[str, Any]]:
    """Medians of ours, and of itchy's what a line says; each of ours has one of itchy's beside it."""
    itchy.decode()
    ours, theirs = [], []
    for _ in range(runs):
        theirs.append(itchy.decode())
        ours.append(timed(work))
    wall, cpu = (statistics.median(column) for column in zip(*ours, strict=True))
    if itchy.why:
        return (wall, cpu), {"itchy": None, "itchy_why": itchy.why}
    messages = theirs[0][0]
    return (wall, cpu), {
        "itchy": round(messages / statistics.median(took for _, took, _ in theirs)),
        # of a file too small for the clock of CPU time there is none
        "itchy_cpu": round(messages * runs / spent) if (spent := sum(cpu for *_, cpu in theirs)) else None,
        "itchy_version": ITCHY,
        "to_itchy": round(statistics.median(t[1] / o[0] for o, t in zip(ours, theirs, strict=True)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--itch", type=Path, help="an ITCH 5.0 file, plain or gzipped")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of the generated file")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.itch:
        with open_plain(arguments.itch) as file:
            data = np.frombuffer(file.read(), dtype=np.uint8)
    else:
        data = itch_file(arguments.messages)
    shown = {"input": str(arguments.itch.name) if arguments.itch else "generated", "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as directory:
        itchy = Itchy(data, Path(directory))
        for metric, work, books in (("decode", decode_all, False), ("book", book_all, True)):
            measure(metric, work, books, data, itchy, arguments.runs, shown)
        itchy.close()


def measure(
    metric: str,
    work: Callable[[NDArray[np.uint8]], int],
    books: bool,
    data: NDArray[np.uint8],
    itchy: Itchy,
    runs: int,
    shown: dict[str, Any],
) -> None:
    """Print a metric's line."""
    part = data.tobytes() if len(data) < 1 << 24 else data[: 1 << 24].tobytes()
    first = timed(lambda: work(data[: 1 << 16]))[0]
    compile_s = first - timed(lambda: work(data[: 1 << 16]))[0]
    messages = decode_all(data)
    plain = timed(lambda: StructReader().read(part, books, BASELINE_MESSAGES))
    count = StructReader().read(part, False, BASELINE_MESSAGES)
    took, beside = in_turn(lambda: work(data), itchy, runs)
    line(
        f"feeds.itch.{metric}",
        messages,
        took,
        runs,
        compile_s=round(compile_s, 2),
        baseline="struct.unpack" + (", dicts of orders and levels" if books else ", tuples"),
        ratio=round(messages / took[1] * plain[1] / count, 1),
        **shown,
        **beside,
        **({"best_quotes": book_all(data)} if books else {}),
    )


if __name__ == "__main__":
    main()
