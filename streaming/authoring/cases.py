"""A rule's cases in, passed or what differs out: each case is a tape and the signals expected over it.

Cases lie beside the rule, in ``tapes/NAME`` (:mod:`streaming.authoring.tapes` describes the files). The
compiled engine runs them in this process; Flink, the reference, in a job each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streaming import derived, engines, rules
from streaming.authoring import linter, tapes
from streaming.authoring.cells import shown
from streaming.authoring.tapes import SIGNALS_SUFFIX, Expectation, ExpectedSignal, TapeFile
from streaming.rules import Rule
from tickloom.errors import SettingsError, TapeError
from tickloom.events import EventBlock, Signal
from tickloom.settings import FlinkSettings, KafkaSettings

TOLERANCE = 1e-9  # of strength and ref_price, relative: expected values are written by hand
TAPES = "tapes"  # the directory beside the rules
SUFFIXES = (".csv", ".parquet")
_SPREADSHEETS = (".xlsx", ".xls", ".ods")

#: A bound rule and events to signals.
Engine = Callable[[Rule, EventBlock], list[Signal]]


@dataclass(slots=True)
class Case:
    """A tape, and what is expected over it; None where nobody has said so yet."""

    name: str
    tape: TapeFile
    expectation: Expectation | None

    @property
    def expectation_path(self) -> Path:
        return self.tape.path.with_name(f"{self.name}{SIGNALS_SUFFIX}")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as expected.

    Attributes
    ----------
    kind : {"missing", "extra", "different"}
    signal : ExpectedSignal
        The expected one; of an extra one, what was found.
    note : str
        What is different.
    """

    kind: Literal["missing", "extra", "different"]
    signal: ExpectedSignal
    note: str = ""


@dataclass(slots=True)
class Result:
    """A case that was run. found: the signals, in the order of their last rows."""

    case: Case
    found: list[ExpectedSignal]
    differences: list[Difference]

    @property
    def passed(self) -> bool:
        return self.case.expectation is not None and not self.differences


def directory(rule: Rule) -> Path:
    """Where a rule's tapes lie."""
    return rule.path.parent / TAPES / rule.name


def find(rule: Rule) -> list[Case]:
    """The cases of a rule, by name.

    Raises
    ------
    TapeError
        A file among them cannot be used.
    """
    paths = sorted(path for path in directory(rule).glob("*") if not path.name.startswith("."))
    signals = {path for path in paths if path.name.endswith(SIGNALS_SUFFIX)}
    orphans = set(signals)
    found: dict[str, Case] = {}
    for path in paths:
        if path.suffix in _SPREADSHEETS:
            raise TapeError(shown(path), 0, "a spreadsheet's own format", "save it as CSV")
        if path in signals or path.suffix not in SUFFIXES:
            continue
        if path.stem in found:
            raise TapeError(shown(path), 0, f"a second tape {path.stem!r}", "give one of them another name")
        case = found[path.stem] = Case(path.stem, tapes.read_tape(path, rule.venue), None)
        if case.expectation_path in signals:
            orphans.remove(case.expectation_path)
            case.expectation = tapes.read_expectation(case.expectation_path, case.tape)
    for path in sorted(orphans):
        name = path.name.removesuffix(SIGNALS_SUFFIX)
        raise TapeError(shown(path), 0, f"there is no tape {name}.csv", "write it, or remove this file")
    return list(found.values())


def compiled(rule: Rule, block: EventBlock) -> list[Signal]:
    """The compiled engine: signals over ``block``."""
    matcher = engines.make_matcher(rule)
    signals: list[Signal] = []
    for part in derived.over_history(engines.views_read(rule), [block], rule.venue):
        kinds = part.every_kind().values()
        begin = min(int(records["ts_event"].min()) for records in kinds if len(records))
        signals += matcher.push(part, begin)
    return signals + matcher.finish()


def on_flink(flink: FlinkSettings, kafka: KafkaSettings) -> Engine:
    """Flink, the reference: a job of a few seconds for each call."""

    from streaming.stored import history  # Kafka's client and more, which the compiled engine does without

    def run(rule: Rule, block: EventBlock) -> list[Signal]:
        return history.run([rule], [block], flink, kafka)[rule.name]

    return run


def run(rule: Rule, case: Case, engine: Engine = compiled) -> Result:
    """Run a case and compare.

    Raises
    ------
    RuleError, SettingsError
        The rule is refused, or does not know a parameter of the case.
    TapeError
        A signal that is of no event of the tape.
    """
    overrides = case.expectation.overrides if case.expectation else {}
    try:
        bound = rules.bind(rule, overrides)
    except SettingsError as error:
        where = shown(case.expectation_path)
        raise TapeError(where, 0, str(error).rstrip("."), "mend its line # param: key=value") from None
    linter.check(bound)
    found = [_on_rows(signal, case.tape) for signal in engine(bound, case.tape.block)]
    found.sort(key=lambda one: (one.last_row, one.first_row, one.symbol))
    expected = case.expectation.signals if case.expectation else []
    return Result(case, found, compare(expected, found, case.tape))


def compare(expected: list[ExpectedSignal], found: list[ExpectedSignal], tape: TapeFile) -> list[Difference]:
    """What is missing, extra or different, in the order of the last rows.

    Two signals are the same one if symbol, first and last event are. A signal that is found twice, which
    one identity must not be, is extra.
    """

    def identity(one: ExpectedSignal) -> tuple[str, int, int]:
        return one.symbol, tape.seq_of_row[one.first_row], tape.seq_of_row[one.last_row]

    left = list(found)
    differences: list[Difference] = []
    for one in expected:
        same = next((other for other in left if identity(other) == identity(one)), None)
        if same is None:
            differences.append(Difference("missing", one))
            continue
        left.remove(same)
        note = _note(one, same)
        if note:
            differences.append(Difference("different", one, note))
    differences.extend(Difference("extra", one) for one in left)
    return sorted(differences, key=lambda difference: difference.signal.last_row)


def accept(result: Result) -> Path:
    """Write what was found as what is expected; parameters and comments stay. Returns the file."""
    before = result.case.expectation or Expectation([])
    path = result.case.expectation_path
    tapes.write_expectation(path, Expectation(result.found, before.overrides, before.comments))
    return path


def _note(expected: ExpectedSignal, found: ExpectedSignal) -> str:
    notes = []
    if expected.side != found.side:
        notes.append(f"side is {found.side}")
    for name in ("strength", "ref_price"):
        wanted, got = getattr(expected, name), getattr(found, name)
        if wanted is not None and not math.isclose(wanted, got, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            notes.append(f"{name} is {tapes.figure(got)}")
    return ", ".join(notes)


def _on_rows(signal: Signal, tape: TapeFile) -> ExpectedSignal:
    rows = []
    for name, seq in (("first_seq", signal.first_seq), ("last_seq", signal.last_seq)):
        row = tape.row_of(seq)
        if row is None:
            raise TapeError(
                shown(tape.path),
                0,
                f"{name} {seq} of a signal of {signal.symbol} is the seq of none of its events",
                "select the seq of a row of the match, else a signal cannot be traced to its ticks",
            )
        rows.append(row)
    return ExpectedSignal(signal.symbol, signal.side, signal.strength, signal.ref_price, rows[0], rows[1])
