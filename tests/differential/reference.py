"""Rules and tapes in, the signals of Flink's own MATCH_RECOGNIZE out: what engines are held to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.differential.naive import Match
from tickloom.codec import EVENT_FIELDS
from tickloom.events import EventBlock
from tickloom.prices import NO_PRICE

PROJECT = Path(__file__).resolve().parents[2]
_NANOS_FIELDS = {"price", "size", "bid_price", "bid_size", "ask_price", "ask_size"}


@dataclass(slots=True)
class Outcome:
    """What Flink made of some rules.

    Attributes
    ----------
    signals : dict
        Rule to its signals.
    refused : dict
        Rule to the reason for which Flink's planner does not take it.
    failed : dict
        Rule to the reason for which its job failed while it ran.
    """

    signals: dict[str, list[Match]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class FlinkReference:
    """A Flink in a process of its own, which runs many rules in one bounded job."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="differential-")
        self._jobs = 0
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLINK_")}
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "tests.differential.flink_worker", self._directory.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(Path(self._directory.name) / "worker.log").open("w"),
            cwd=PROJECT,
            env=environment,
            text=True,
        )

    def __enter__(self) -> FlinkReference:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.communicate()
        self._directory.cleanup()

    def run(
        self,
        texts: Mapping[str, str],
        batches: Sequence[tuple[EventBlock, int]],
        options: Mapping[str, str] | None = None,
    ) -> Outcome:
        """All rules over the same batches; a watermark (ns) follows each batch.

        A job that fails is cut in two until it is known which rule made it fail.

        Parameters
        ----------
        options : mapping, optional
            Flink configuration that differs from what every job of ours has.
        """
        answer = self._ask(texts, batches, options or {})
        found = Outcome(refused=answer.get("refused", {}))
        taken = {name: text for name, text in texts.items() if name not in found.refused}
        if "failed" in answer:
            if len(taken) == 1:
                found.failed = dict.fromkeys(taken, answer["failed"])
                return found
            names = list(taken)
            for half in (names[: len(names) // 2], names[len(names) // 2 :]):
                part = self.run({name: taken[name] for name in half}, batches, options)
                found.signals |= part.signals
                found.refused |= part.refused
                found.failed |= part.failed
            return found
        found.signals = {name: [] for name in taken}
        for signal in answer["signals"]:
            found.signals[signal["rule"]].append(_match(signal))
        return found

    def _ask(
        self, texts: Mapping[str, str], batches: Sequence[tuple[EventBlock, int]], options: Mapping[str, str]
    ) -> dict[str, Any]:
        self._jobs += 1
        job = Path(self._directory.name) / str(self._jobs)
        job.mkdir()
        (job / "batches").write_text("".join(json.dumps(_batch(*one)) + "\n" for one in batches))
        (job / "job.json").write_text(json.dumps({"rules": list(texts.items()), "options": dict(options)}))
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        try:
            self._worker.stdin.write(f"{job}\n")
            self._worker.stdin.flush()
            answered = self._worker.stdout.readline()
        except BrokenPipeError:
            answered = ""
        if not answered:
            log = (Path(self._directory.name) / "worker.log").read_text()[-4_000:]
            raise RuntimeError(f"the process that runs Flink has ended:\n{log}")
        answer: dict[str, Any] = json.loads((job / "result.json").read_text())
        return answer


def _batch(block: EventBlock, watermark_ns: int) -> dict[str, Any]:
    arrays = {"deltas": block.deltas, **block.kinds()}
    header = {"venue": block.venue, "session": block.session, "shard": 0, "first_seq": 0, "last_seq": 0}
    rows = {array: [_event(block, one, names) for one in arrays[array]] for array, names in _FIELDS.items()}
    return {**header, "watermark": watermark_ns, **rows}


_FIELDS = {array: [name for name, _ in fields] for array, fields in EVENT_FIELDS.items()}


def _event(block: EventBlock, record: Any, names: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in names:
        value = record[name]
        if name == "symbol":
            values[name] = block.symbols.names[value]
        elif name in _NANOS_FIELDS:
            values[name] = "NaN" if value == NO_PRICE else int(value) / 1e9
        else:
            values[name] = value.decode() if isinstance(value, bytes) else int(value)
    return values


def _match(signal: Mapping[str, Any]) -> Match:
    def number(value: Any) -> float | None:  # NaN and infinities come as texts
        return None if value is None else float(value)

    return Match(
        signal["symbol"],
        signal["side"],
        number(signal["strength"]),
        number(signal["ref_price"]),
        signal["first_seq"],
        signal["last_seq"],
        signal["ts_event"],
    )
