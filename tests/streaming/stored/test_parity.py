"""Two runs held against each other: what differs is named, and each cause is found in the stored events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from msgspec import structs

from streaming import rules
from streaming.live import runs
from streaming.live.jobs import identity_of
from streaming.live.runs import Run
from streaming.rules import Rule
from streaming.stored import causes, history, parity, proof, proven
from streaming.stored.parity import Cause, Difference, Outcome
from streaming.stored.proof import Identity
from streaming.tape import START_NS, Tape
from tickloom.cli.rules.parity import show
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.errors import RuleError, SettingsError
from tickloom.events import GAP_DTYPE, EventBlock, Signal, make_seq, signal_id
from tickloom.settings import FlinkSettings, KafkaSettings, StackSettings

Probe = Callable[..., Rule]
DAY = date(2024, 8, 8)


def seq(number: int) -> int:
    return make_seq(DAY, number)


def signal(first: int, last: int, *, version: str = "1", symbol: str = "A", at_ms: int = 0) -> Signal:
    """A signal of the tape's messages ``first`` to ``last``."""
    identity = signal_id("probe", version, symbol, seq(first), seq(last))
    ts_event = START_NS + at_ms * NS_PER_MS
    return Signal(
        identity, "probe", version, symbol, "buy", 1.0, 10.0, seq(first), seq(last), "XNAS", ts_event, 7
    )


def outcomes(differences: Iterable[Difference]) -> list[tuple[str, int | None, int | None]]:
    """Outcome and last message of both sides."""
    return [
        (
            one.outcome.value,
            one.reference.last_seq - seq(0) if one.reference else None,
            one.replay.last_seq - seq(0) if one.replay else None,
        )
        for one in differences
    ]


class TestCompare:
    """What belongs together, and what stands alone."""

    def test_same_signals_are_identical_whenever_they_were_raised(self) -> None:
        """ts_signal is the machine's time and no part of a signal's content."""
        one = signal(1, 2)
        assert parity.compare([one], [structs.replace(one, ts_signal=99)]) == (1, [])

    def test_each_kind_of_difference(self) -> None:
        """One only here, one only there, and one with another first row, in the order of time."""
        live = [signal(1, 2), signal(3, 4, at_ms=5), signal(8, 9, at_ms=9)]
        again = [signal(1, 2), signal(6, 7, at_ms=7), signal(5, 9, at_ms=9)]
        identical, differences = parity.compare(live, again)
        assert identical == 1
        assert outcomes(differences) == [("extra", 4, None), ("missing", None, 7), ("shifted", 9, 9)]

    def test_other_values_under_the_same_id_are_no_identity(self) -> None:
        """Side, price, strength and time are compared; the last bit of a logarithm is not."""
        one = signal(1, 2)
        near = structs.replace(one, strength=1.0 + 1e-15)
        assert parity.compare([one], [near]) == (1, [])
        for changed in (
            structs.replace(one, side="sell"),
            structs.replace(one, strength=1.0 + 1e-9),
            structs.replace(one, ref_price=10.01),
            structs.replace(one, ts_event=one.ts_event + NS_PER_MS),
        ):
            assert outcomes(parity.compare([one], [changed])[1]) == [("shifted", 2, 2)]

    def test_a_copy_does_not_take_the_place_of_the_true_one(self) -> None:
        """The same id twice, once with another price: one is identical, the other is extra."""
        one = signal(1, 2)
        other = structs.replace(one, ref_price=1.0, side="sell")
        identical, differences = parity.compare([other, one], [one])
        assert (identical, outcomes(differences)) == (1, [("extra", 2, None)])

    def test_rows_decide_before_overlap(self) -> None:
        """The match with the same last row is the partner, not the first that overlaps."""
        _, differences = parity.compare([signal(1, 9)], [signal(2, 5), signal(3, 9)])
        assert outcomes(differences) == [("shifted", 9, 9), ("missing", None, 5)]

    def test_symbols_are_apart(self) -> None:
        """The same rows of another symbol are another match."""
        _, differences = parity.compare([signal(1, 2)], [signal(1, 2, symbol="B")])
        assert sorted(outcomes(differences)) == [("extra", 2, None), ("missing", None, 2)]


def explained(
    rule: Rule, tape: Tape | EventBlock, live: Callable[[list[Signal]], list[Signal]], **known: object
) -> list[Difference]:
    """Differences, with causes, of what ``live`` makes of the replayed signals."""
    block = tape.block() if isinstance(tape, Tape) else tape
    replayed = history.run_compiled([rule], [_in_time(block)])["probe"]
    _, differences = parity.compare(live(replayed), replayed)
    context = causes.Context(rule.version, ("trades",), **known)  # type: ignore[arg-type]
    causes.explain(differences, [_in_time(block)], context)
    return differences


def _in_time(block: EventBlock) -> EventBlock:
    """As the readers give it."""
    trades = block.trades[np.lexsort((block.trades["seq"], block.trades["ts_event"]))]
    return replace(block, trades=trades)


def rising(*times_ms: float) -> Tape:
    """Trades of A at 10, 11, 12 ... dollars: every two of them are a match."""
    tape = Tape()
    for number, at_ms in enumerate(times_ms):
        tape.trade("A", at_ms, 10.0 + number, 1, "buy")
    return tape


class TestCauses:
    """Each cause, from the events around a difference."""

    def test_late_tick(self, probe: Probe) -> None:
        """Message 3 was captured behind one that is 40 ms later: it was behind the watermark."""
        tape = rising(0, 50, 10, 60)  # in time 1 3 2 4, so the replay has 1-3 and 2-4, live had 1-2 alone
        found = explained(probe(), tape, lambda _: [signal(1, 2, at_ms=50)])
        assert [(one.outcome, one.cause) for one in found] == [
            (Outcome.SHIFTED, Cause.LATE_TICK),
            (Outcome.MISSING, Cause.LATE_TICK),
        ]
        assert found[0].evidence == f"seq {seq(3)} of A came 40 ms behind the watermark"

    def test_lateness_that_the_venue_allows_is_no_cause(self, probe: Probe) -> None:
        """With a lateness of 40 ms the same message was in time; with 39 it was not."""
        for lateness_ms, cause in ((40, Cause.UNEXPLAINED), (39, Cause.LATE_TICK)):
            found = explained(
                probe(),
                rising(0, 50, 10, 60),
                lambda _: [signal(1, 2, at_ms=50)],
                lateness_ns=lateness_ms * NS_PER_MS,
            )
            assert {one.cause for one in found} == {cause}

    def test_late_by_an_event_far_behind_the_match(self, probe: Probe) -> None:
        """The event that moved the watermark may be seconds later, of another symbol, in a later block."""
        tape = rising(0)
        tape.trade("B", 5_000, 1.0, 1, "buy")
        tape.trade("A", 10, 11.0, 1, "buy")
        whole = _in_time(tape.block())
        blocks = [
            replace(whole, trades=whole.trades[:2]),
            replace(whole, trades=whole.trades[2:]),
        ]
        replayed = history.run_compiled([probe()], blocks)["probe"]
        _, differences = parity.compare([], replayed)
        causes.explain(differences, blocks, causes.Context("1", ("trades",)))
        assert [(one.outcome, one.cause) for one in differences] == [(Outcome.MISSING, Cause.LATE_TICK)]
        assert "4990 ms behind" in differences[0].evidence

    def test_gap(self, probe: Probe) -> None:
        """A gap event of the venue between the rows of the match; one outside of them is not its cause."""
        for at_ms, cause in ((5, Cause.GAP), (50, Cause.UNEXPLAINED)):
            block = rising(0, 10, 30, 40).block()
            head = (START_NS + at_ms * NS_PER_MS, START_NS, seq(90), 0)
            block.gaps = np.array([(*head, 7, 9, 0)], dtype=GAP_DTYPE)
            (one,) = explained(probe(), block, lambda found: found[1:])
            assert (one.outcome, one.cause) == (Outcome.MISSING, cause)
            assert ("messages 7 to 9 never came (sequence)" in one.evidence) is (cause is Cause.GAP)

    def test_tie(self, probe: Probe) -> None:
        """Two trades in the millisecond in which the match ends."""
        tape = rising(0, 10, 10.2, 40)
        (one, *_) = explained(probe(), tape, lambda _: [signal(1, 3, at_ms=10), signal(3, 4, at_ms=40)])
        assert (one.outcome, one.cause) == (Outcome.SHIFTED, Cause.TIE)
        assert one.evidence == f"seq {seq(2)} and {seq(3)} have the same millisecond"

    def test_other_parameters_and_other_version(self, probe: Probe) -> None:
        """What the version says needs no events."""
        for version, cause in (("1+0a1b2c3d", Cause.OTHER_PARAMETERS), ("2", Cause.OTHER_VERSION)):
            found = explained(
                probe(), rising(0, 10), lambda _, version=version: [signal(1, 2, version=version, at_ms=10)]
            )
            assert [(one.outcome, one.cause) for one in found] == [(Outcome.SHIFTED, cause)]
            assert version in found[0].evidence

    def test_row_that_is_not_stored(self, probe: Probe) -> None:
        """A live match whose last row the store does not have."""
        found = explained(probe(), rising(0, 10), lambda found: [*found, signal(2, 77, at_ms=12)])
        assert [(one.outcome, one.cause) for one in found] == [(Outcome.EXTRA, Cause.NOT_STORED)]
        assert f"seq {seq(77)}" in found[0].evidence

    def test_rule_that_did_not_run(self, probe: Probe) -> None:
        """Missing because the rule was submitted after the match's last row had come, or stopped before."""
        at = [START_NS + 10 * NS_PER_MS]  # when the tape's second trade came
        for run, cause in (
            (Run("probe", "1", "flink", "j", at[0] + 2 * NS_PER_S), Cause.NOT_RUNNING),
            (Run("probe", "1", "flink", "j", at[0] + 2 * NS_PER_S, complete=True), Cause.UNEXPLAINED),
            (Run("probe", "1", "flink", "j", at[0] - 9, to_ns=at[0] - 5), Cause.NOT_RUNNING),
            (Run("probe", "1", "flink", "j", at[0] - 9), Cause.UNEXPLAINED),
        ):
            (one,) = explained(probe(), rising(0, 10), lambda _: [], runs=[run])
            assert one.cause is cause, run
        assert "was submitted" not in one.evidence

    def test_nothing_unusual_is_said_so(self, probe: Probe) -> None:
        """A difference without any of these is a defect of an engine, and called unexplained."""
        (one,) = explained(probe(), rising(0, 10), lambda _: [])
        assert (one.cause, one.evidence) == (Cause.UNEXPLAINED, "nothing unusual in the 2 rows around it")

    def test_differences_that_hang_together_share_their_cause(self, probe: Probe) -> None:
        """One late trade moves every match behind it, until the two runs meet again."""
        tape = rising(0, 100, 50, 200, 300, 400)  # in time 1 3 2 4 5 6: replay 1-3, 2-4, 5-6
        live = [signal(1, 2, at_ms=100), signal(4, 5, at_ms=300)]
        differences = explained(probe(), tape, lambda _: live)
        assert {one.cause for one in differences} == {Cause.LATE_TICK}
        assert len(differences) == 3


class TestIdentities:
    """Which parameters a day's signals were raised with."""

    def test_parameters_are_found_by_the_version(self, probe: Probe) -> None:
        """A version with a hash is replayed with what was given at its submission."""
        rule = probe()
        version = rules.version_of(rule, {"rise": "0.5"})
        ran = [Run("probe", version, "compiled", "a", 1, {"rise": "0.5"}), Run("probe", "1", "flink", "b", 2)]
        live = [signal(1, 2), signal(1, 2, version=version), signal(3, 4, version=version)]
        first, second = proof.identities(rule, live, ran)
        assert (first.overrides, first.engine, len(first.signals)) == ({"rise": "0.5"}, "compiled", 2)
        assert (second.overrides, second.engine, len(second.signals)) == ({}, "flink", 1)

    def test_versions_that_are_gone_go_to_what_is_left(self, probe: Probe) -> None:
        """They stay in the report, as signals that no replay of this file gives."""
        (one,) = proof.identities(
            probe(), [signal(1, 2, version="0"), signal(3, 4, version="1+ffffffff")], []
        )
        assert (one.overrides, len(one.signals)) == ({}, 2)

    def test_silence_is_replayed_as_it_ran_last(self, probe: Probe) -> None:
        """No signal live, but the rule ran: the replay has its parameters."""
        version = rules.version_of(probe(), {"rise": "0.5"})
        (one,) = proof.identities(probe(), [], [Run("probe", version, "flink", "a", 1, {"rise": "0.5"})])
        assert (one.overrides, one.signals, one.engine) == ({"rise": "0.5"}, [], "flink")

    def test_runs_are_kept(self, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
        """What was submitted and stopped is read back; a torn file is named."""
        monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
        assert runs.known() == []
        run = Run("probe", "1", "flink", "job", 5, {"rise": "0.5"})
        runs.submitted(run)
        runs.submitted(Run("other", "1", "flink", "job2", 6))
        runs.stopped("job", 9)
        assert runs.known("probe") == [replace(run, to_ns=9)]
        path = StackSettings.load().data_dir / "rules" / "runs.jsonl"
        path.write_text(path.read_text() + '{"event": "sub')
        with pytest.raises(SettingsError, match=r"runs\.jsonl"):
            runs.known()


class TestProof:
    """A stored day, replayed by the compiled engine; no server."""

    def prove(self, rule: Rule, tape: Tape, live: Identity) -> parity.Report:
        return proof.prove(
            rule,
            DAY,
            lambda *_: [_in_time(tape.block())],
            FlinkSettings.load(),
            KafkaSettings.load(),
            live=live,
        )

    def test_identical_day_proves_the_compiled_engine(
        self, probe: Probe, monkeypatch: pytest.MonkeyPatch, tmp_path: object
    ) -> None:
        """Until the next comparison differs; a day without signals changes nothing."""
        monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
        rule, tape = probe(), rising(0, 10, 20, 30)
        compiled = identity_of(rules.bind(rule), "compiled")
        replayed = history.run_compiled([rule], [tape.block()])["probe"]
        assert len(replayed) == 2
        quiet = Tape()
        quiet.trade("A", 0, 1.0, 1, "buy")
        assert self.prove(rule, quiet, Identity({}, [], "flink")).agrees
        assert not proven.is_proven(compiled)
        report = self.prove(rule, tape, Identity({}, replayed, "flink"))
        assert (report.agrees, report.identical, report.replay, report.events) == (True, 2, "compiled", 4)
        assert proven.is_proven(compiled)
        assert self.prove(rule, quiet, Identity({}, [], "flink")).agrees
        assert proven.is_proven(compiled)
        assert not self.prove(rule, tape, Identity({}, replayed[1:], "flink")).agrees
        assert not proven.is_proven(compiled)

    def test_engine_that_is_not_known_proves_nothing(
        self, probe: Probe, monkeypatch: pytest.MonkeyPatch, tmp_path: object
    ) -> None:
        """Who knows whether two engines were compared."""
        monkeypatch.setenv("TICKLOOM_STACK_DATA_DIR", str(tmp_path))
        rule, tape = probe(), rising(0, 10)
        replayed = history.run_compiled([rule], [tape.block()])["probe"]
        assert self.prove(rule, tape, Identity({}, replayed, None)).agrees
        assert not proven.is_proven(identity_of(rules.bind(rule), "compiled"))

    def test_only_the_day_is_compared(self, probe: Probe) -> None:
        """The hour before and the minute behind are replayed, their signals are of other days."""
        night_ms = 10.5 * 3_600_000  # from 13:30 to midnight
        tape = rising(0, 10, night_ms - 5, night_ms + 5, night_ms + 6, night_ms + 7)
        found = history.run_compiled([probe()], [tape.block()])["probe"]
        assert [one.ts_event >= START_NS + night_ms * NS_PER_MS for one in found] == [False, True, True]
        assert self.prove(probe(), tape, Identity({}, found[:1], "flink")).agrees

    def test_report_as_json_has_everything(self, probe: Probe) -> None:
        """Counts of every outcome, causes, and both signals of each difference."""
        report = self.prove(probe(), rising(0, 10, 20, 30), Identity({}, [], "flink")).as_dict()
        assert (report["identical"], report["missing"], report["extra"], report["shifted"]) == (0, 2, 0, 0)
        assert (report["agrees"], report["causes"]) == (False, {"unexplained": 2})
        assert report["differences"][0]["replay"]["last_seq"] == seq(2)
        assert report["differences"][0]["reference"] is None

    def test_day_on_which_nothing_was_raised_live(
        self, probe: Probe, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Was the rule running at all? That is asked before each signal is called missing."""
        tape = rising(0, 10, 20)
        show(self.prove(probe(), tape, Identity({}, [], "flink")))
        assert "nothing was raised live that day" in capsys.readouterr().out
        raised = history.run_compiled([probe()], [tape.block()])["probe"]
        show(self.prove(probe(), tape, Identity({}, raised, "flink")))
        assert "nothing was raised" not in capsys.readouterr().out


def test_python_job_has_no_second_engine(probe: Probe) -> None:
    """It is said, with what to do instead."""
    with pytest.raises(RuleError, match="no second engine"):
        proof.other_engine(replace(probe(), kind=rules.JOB), None)
