"""Tapes written by hand: what they say is what a rule sees, and every shipped rule passes its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from execution import limits
from streaming import rules
from streaming.authoring import cases, linter, tapes, template
from streaming.authoring.tapes import Expectation, ExpectedSignal, TapeFile
from streaming.rules import JOB, Rule
from streaming.tape import START_NS
from tickloom.clock import NS_PER_MS
from tickloom.errors import RuleError, TapeError
from tickloom.events import GapReason, Side, StatusCode, source_seq
from tickloom.instruments import Registry
from tickloom.prices import NO_PRICE
from tickloom.settings import FlinkSettings, KafkaSettings

Write = Callable[[str], TapeFile]
ALL_KINDS = """\
kind,symbol,time_s,price,size,side,condition,bid_price,bid_size,ask_price,ask_size,status,reason,first_missing,last_missing
# a line for the reader
trade,A,0.25,100.10,30,buy,cross,,,,,,,,
trade,A,0.25,100.1,30,,,,,,,,,,
quote,A,1,,,,,,,10.5,7,,,,
status,A,1,,,,,,,,,halted,LUDP,,
status,,1,,,,,,,,,market_open,,,

gap,A,1,,,,,,,,,,disconnect,7,9
"""


@pytest.fixture
def tape(tmp_path: Path) -> Write:
    """``tape(text)``: the tape of that text, as CSV."""

    def write(text: str) -> TapeFile:
        path = tmp_path / "tape.csv"
        path.write_text(text)
        return tapes.read_tape(path, "XNAS")

    return write


SHIPPED = [rules.find(name) for name in rules.names()]
#: Rules that this process can run, each with its cases.
CASES = [(rule, case) for rule in SHIPPED if rule.kind != JOB for case in cases.find(rule)]


@pytest.mark.parametrize(("rule", "case"), CASES, ids=[f"{rule.name}-{case.name}" for rule, case in CASES])
def test_shipped_rule_passes_its_tapes(rule: Rule, case: cases.Case) -> None:
    """Every tape beside a rule gives the signals that are written beside it."""
    result = cases.run(rule, case)
    assert (result.differences, result.passed) == ([], True)


@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: rule.name)
def test_shipped_rule_has_tapes_on_which_it_fires_and_not(rule: Rule) -> None:
    """A rule that is only ever seen silent, or only ever firing, is not tested."""
    found = cases.find(rule)
    assert all(case.expectation is not None for case in found)
    fires = {signal.symbol for case in found for signal in (case.expectation or Expectation([])).signals}
    silent = {name for case in found for name in case.tape.block.symbols.names if name} - fires
    assert fires
    assert silent


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), [("trade_burst", "three_trades"), ("quote_fade", "fades")])
def test_flink_passes_a_tape(name: str, case: str, flink: FlinkSettings, kafka: KafkaSettings) -> None:
    """The reference gives what is written on paper, under the version of the case's parameters."""
    rule = rules.find(name)
    (found,) = [one for one in cases.find(rule) if one.name == case]
    engine, versions = cases.on_flink(flink, kafka), set()

    def run(bound: Rule, block: object) -> list[object]:
        signals = engine(bound, found.tape.block)
        versions.update(signal.version for signal in signals)
        return list(signals)

    assert cases.run(rule, found, run).differences == []  # type: ignore[arg-type]
    assert found.expectation is not None
    assert versions == {rules.version_of(rule, found.expectation.overrides)}
    assert ("+" in versions.pop()) == (case == "three_trades")


def test_rows_are_events(tape: Write) -> None:
    """Each kind of event, its empty cells, and the row number that a spreadsheet shows."""
    read = tape(ALL_KINDS)
    first, second = read.block.trades
    assert (first["price"], first["size"], first["side"], first["condition"]) == (
        100_100_000_000,
        30_000_000_000,
        Side.BUY,
        2,
    )
    assert (second["price"], second["side"], second["condition"]) == (first["price"], Side.NONE, 0)
    assert first["ts_event"] == first["ts_recv"] == START_NS + 250 * NS_PER_MS
    (quote,) = read.block.quotes
    assert (quote["bid_price"], quote["bid_size"]) == (NO_PRICE, 0)
    assert (quote["ask_price"], quote["ask_size"]) == (10_500_000_000, 7_000_000_000)
    halted, opened = read.block.statuses
    assert (halted["status"], halted["reason"]) == (StatusCode.HALTED, b"LUDP")
    assert (opened["status"], opened["symbol"]) == (StatusCode.MARKET_OPEN, 0)
    (gap,) = read.block.gaps
    assert (gap["first_missing"], gap["last_missing"], gap["reason"]) == (7, 9, GapReason.DISCONNECT)
    assert {row: source_seq(seq) for row, seq in read.seq_of_row.items()} == {
        3: 1,
        4: 2,
        5: 3,
        6: 4,
        7: 5,
        9: 6,
    }


def test_news_rows(tape: Write) -> None:
    """A story is of the tape's venue; no score is NaN, and its age goes off the time of its event."""
    first, second = tape(
        "kind,symbol,time_ms,score,words,headline,source,age_s\n"
        "news,A,1,-0.5,3,A falls,wire,2\nnews,B,2,,,,,\n"
    ).block.news
    assert (first["venue"], first["score"], first["words"], first["headline"], first["source"]) == (
        b"XNAS",
        -0.5,
        3,
        b"A falls",
        b"wire",
    )
    assert first["ts_event"] - first["published"] == 2_000 * NS_PER_MS
    assert math.isnan(second["score"])
    assert (second["words"], second["published"]) == (1, second["ts_event"])
    for row in ("news,A,1,1.5", "news,,1,0.5", "trade,A,1,0.5"):
        with pytest.raises(TapeError):
            tape(f"kind,symbol,time_ms,score\n{row}\n")


def test_message_makes_one_of_two_rows(tape: Write) -> None:
    """A message may trade and leave a quote: same seq, and either row names it."""
    read = tape(
        "kind,symbol,time_ms,price,size,bid_price,bid_size,message\n"
        "trade,A,0.5,10,1,,,7\nquote,A,0.5,,,9,1,7\ntrade,A,1,10,1,,,\n"
    )
    assert read.block.trades["seq"][0] == read.block.quotes["seq"][0] == read.seq_of_row[2]
    assert [source_seq(seq) for seq in read.seq_of_row.values()] == [7, 7, 8]
    assert read.row_of(read.seq_of_row[3]) == 2
    assert read.block.trades["ts_event"][0] == START_NS + 500_000


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_what_spreadsheets_do_is_understood(delimiter: str, tape: Write) -> None:
    """Another delimiter, a byte order mark, blanks, and empty cells that fill a table up."""
    text = "\ufeffKind,symbol,time_s,price,size,,\n# note,,,,,,\n trade , A ,1,10,1,,\n,,,,,,\n"
    text += "trade,A,2,11,1,,\n"
    read = tape(text.replace(",", delimiter))
    assert read.block.trades["price"].tolist() == [10 * 10**9, 11 * 10**9]
    assert list(read.seq_of_row) == [3, 5]


def test_parquet_is_as_csv(tape: Write, tmp_path: Path) -> None:
    """A tape that grew can be converted: same events, same row numbers."""
    text = ALL_KINDS.replace("# a line for the reader\n", "").replace("\n\n", "\n")
    as_csv = tape(text)
    table = pyarrow.csv.read_csv(as_csv.path)
    assert table.schema.field("price").type == pa.float64()
    pyarrow.parquet.write_table(table, tmp_path / "tape.parquet")
    as_parquet = tapes.read_tape(tmp_path / "tape.parquet", "XNAS")
    assert as_parquet.seq_of_row == as_csv.seq_of_row
    for kind, records in as_csv.block.kinds().items():
        assert np.array_equal(records, as_parquet.block.kinds()[kind]), kind


HEAD = "kind,symbol,time_s,price,size,side,bid_price,bid_size,status,reason,message\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 0, r"it is empty. Fix: begin with the column names: kind,symbol"),
        (HEAD, 0, "no events"),
        ("kind,symbol,time_s,prize\n", 1, "unknown column 'prize'. Fix: did you mean 'price'"),
        ("kind,symbol,price,price\n", 1, "column 'price' twice"),
        ("kind,time_s\n", 1, "no column 'symbol'"),
        (HEAD + "trde,A,1,10,1\n", 2, "kind 'trde'. Fix: write one of trade, quote"),
        (HEAD + "trade,A,1,10,\n", 2, "a trade without size. Fix: fill in the cell size"),
        (HEAD + "trade,,1,10,1\n", 2, "a trade without symbol"),
        (HEAD + "trade,A,,10,1\n", 2, "needs time_s or time_ms"),
        (HEAD + "trade,A,-1,10,1\n", 2, "time_s '-1'"),
        (HEAD + "trade,A,0.0000000001,10,1\n", 2, "time_s '0.0000000001'"),
        (HEAD + "trade,A,1,ten,1\n", 2, "price 'ten' is no number"),
        (HEAD + "# note\n\ntrade,A,1,10,-1\n", 4, "a size is 0 or more"),
        (HEAD + "trade,A,1,10.0000000001,1\n", 2, "more than nine decimals"),
        (HEAD + "trade,A,1,10,1,long\n", 2, "side 'long'. Fix: write one of none, buy, sell"),
        (HEAD + "trade,A,1,10,1,,9,1\n", 2, "a trade has no bid_price"),
        (HEAD + "quote,A,1,,,,9,\n", 2, "bid_price without bid_size"),
        (HEAD + "quote,A,1,,,,,5\n", 2, "bid_size without bid_price"),
        (HEAD + "status,A,1,,,,,,shut\n", 2, "status 'shut'"),
        (HEAD + "status,A,1,,,,,,halted,ninebytes\n", 2, "eight ASCII letters"),
        (HEAD + "trade,A,1,10,1,,,,,,5\ntrade,A,1,10,1,,,,,,4\n", 3, "message 4 behind message 5"),
        (HEAD + "trade,A,1,10,1,,,,,,,5\n", 2, "12 cells under 11 columns"),
        (HEAD.replace(",", ";") + "trade;A;1;10,5;1\n", 2, "write digits and a point"),
    ],
)
def test_bad_tape_is_refused(text: str, line: int, message: str, tape: Write) -> None:
    """The error names file and line, what is wrong there, and what to write."""
    with pytest.raises(TapeError, match=message) as caught:
        tape(text)
    assert caught.value.line == line
    assert caught.value.path.endswith("tape.csv")
    assert caught.value.fix


EXPECTED_HEAD = "symbol,side,strength,ref_price,first_row,last_row\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (EXPECTED_HEAD + "A,long,1,1,2,3\n", 2, "side 'long'"),
        (EXPECTED_HEAD + "A,buy,much,1,2,3\n", 2, "strength 'much' is no number"),
        (
            EXPECTED_HEAD + "A,buy,1,1,1,3\n",
            2,
            "tape.csv has no event there. Fix: its events are in rows 2 to 3",
        ),
        (EXPECTED_HEAD + "A,buy,1,1,2,\n", 2, "last_row '' is no whole number"),
        ("# param: rise\n" + EXPECTED_HEAD, 1, "write # param: key=value"),
        ("# param: a=1\n# param: a=2\n" + EXPECTED_HEAD, 2, "a second value of a"),
        ("symbol,side\n", 1, "no column 'strength'"),
    ],
)
def test_bad_expectation_is_refused(text: str, line: int, message: str, tape: Write, tmp_path: Path) -> None:
    """As a bad tape."""
    read = tape("kind,symbol,time_s,price,size\ntrade,A,1,10,1\ntrade,A,2,11,1\n")
    path = tmp_path / "tape.signals.csv"
    path.write_text(text)
    with pytest.raises(TapeError, match=message) as caught:
        tapes.read_expectation(path, read)
    assert caught.value.line == line


def test_stray_files_are_named(probe: Callable[[str], Rule], probe_text: str) -> None:
    """A spreadsheet that was never exported and signals without a tape are said, not passed over."""
    rule = probe(probe_text)
    folder = cases.directory(rule)
    folder.mkdir(parents=True)
    for name, message in (("one.xlsx", "save it as CSV"), ("two.signals.csv", "there is no tape two.csv")):
        (folder / name).write_text(EXPECTED_HEAD)
        with pytest.raises(TapeError, match=message):
            cases.find(rule)
        (folder / name).unlink()
    assert cases.find(rule) == []


RISES = "kind,symbol,time_s,price,size\n" + "".join(
    f"trade,{symbol},{number},{price},1\n"
    for symbol, prices in (("A", (10, 11, 12, 14)), ("B", (10, 9)))
    for number, price in enumerate(prices)
)


@pytest.fixture
def rising(probe: Callable[[str], Rule], probe_text: str) -> Rule:
    """The probe with one tape on which it gives two signals of A and none of B."""
    rule = probe(probe_text)
    cases.directory(rule).mkdir(parents=True)
    (cases.directory(rule) / "rises.csv").write_text(RISES)
    return rule


def test_what_differs_is_told_apart(rising: Rule) -> None:
    """Missing, extra and different signals; an empty figure is not compared, nor are its last digits."""
    (case,) = cases.find(rising)
    assert not cases.run(rising, case).passed  # nobody has said what it should give
    right = [
        ExpectedSignal("A", "buy", 1.0000000001, None, 2, 3),
        ExpectedSignal("A", "buy", None, 14.0, 4, 5),
    ]
    case.expectation = Expectation(right)
    assert cases.run(rising, case).passed
    case.expectation = Expectation(
        [
            replace(right[0], strength=1.001, side="sell"),
            ExpectedSignal("B", "buy", None, None, 6, 7),
        ]
    )
    differences = cases.run(rising, case).differences
    assert [(one.kind, one.signal.symbol, one.signal.last_row, one.note) for one in differences] == [
        ("different", "A", 3, "side is buy, strength is 1"),
        ("extra", "A", 5, ""),
        ("missing", "B", 7, ""),
    ]


def test_parameters_of_a_case(rising: Rule) -> None:
    """A case runs with its own parameters; one that the rule does not know is an error."""
    path = cases.directory(rising) / "rises.signals.csv"
    path.write_text(f"# param: rise=1.5,,,,,\n{EXPECTED_HEAD}A,buy,2,14,4,5\n")
    (case,) = cases.find(rising)
    # with 1.5 neither 10 to 11 nor 11 to 12 is a rise
    assert cases.run(rising, case).differences == []
    path.write_text(f"# param: size=1\n{EXPECTED_HEAD}")
    (case,) = cases.find(rising)
    with pytest.raises(TapeError, match=r"rises\.signals\.csv: rule .* has no parameter 'size'"):
        cases.run(rising, case)


def test_accepted_result_passes(rising: Rule) -> None:
    """What --update writes is what was found; comments and parameters stay."""
    path = cases.directory(rising) / "rises.signals.csv"
    path.write_text(f"# why it must be so\n# param: rise=0.5\n{EXPECTED_HEAD}")
    (case,) = cases.find(rising)
    result = cases.run(rising, case)
    assert len(result.differences) == 2
    assert cases.accept(result) == path
    assert path.read_text() == (
        f"# why it must be so\n# param: rise=0.5\n{EXPECTED_HEAD}A,buy,1,11,2,3\nA,buy,2,14,4,5\n"
    )
    (case,) = cases.find(rising)
    assert cases.run(rising, case).passed


def test_signal_must_be_of_the_tape(probe: Callable[[str], Rule], probe_text: str) -> None:
    """A first_seq that no event has cannot be traced to a tick: said, not compared."""
    rule = probe(probe_text.replace("A.seq AS first_seq", "A.seq - 7 AS first_seq"))
    cases.directory(rule).mkdir(parents=True)
    (cases.directory(rule) / "rises.csv").write_text(RISES)
    with pytest.raises(TapeError, match="is the seq of none of its events"):
        cases.run(rule, cases.find(rule)[0])


class TestTemplate:
    """``rules new``."""

    def test_it_passes_as_it_is(self, tmp_path: Path) -> None:
        """The linter finds nothing but that WITHIN is exclusive, and the tape passes."""
        written = template.write_rule("fresh", tmp_path)
        assert [path.name for path in written] == ["fresh.sql", "rises.csv", "rises.signals.csv"]
        rule = rules.load(written[0])
        assert [one.severity for one in linter.lint(rule)] == ["note"]
        (case,) = cases.find(rule)
        assert cases.run(rule, case).passed

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        """Whichever of its files is there already, nothing is written."""
        rule, tape, signals = template.write_rule("fresh", tmp_path)
        for path in (tape, signals):
            rule.unlink(missing_ok=True)
            path.write_text("mine")
            with pytest.raises(RuleError, match="there already"):
                template.write_rule("fresh", tmp_path)
            assert path.read_text() == "mine"
            assert not rule.exists()
            path.unlink()

    @pytest.mark.parametrize("name", ["Fresh", "fresh-one", "1st", "", "../fresh"])
    def test_bad_name(self, name: str, tmp_path: Path) -> None:
        """A name that could be no rule's is refused."""
        with pytest.raises(RuleError, match="is no name"):
            template.write_rule(name, tmp_path)

    def test_limits_are_added_commented_out(self, tmp_path: Path) -> None:
        """A new rule does not trade; without the comment signs its limits are valid."""
        shipped = rules.RULES_DIR.parent / "limits.toml"
        file = tmp_path / "limits.toml"
        file.write_text(shipped.read_text())
        registry = Registry.load(rules.RULES_DIR.parent / "instruments.toml")
        assert template.add_limits("fresh", file)
        assert "fresh" not in limits.load(file, registry).rules
        assert not template.add_limits("fresh", file)
        lines = file.read_text().splitlines()
        start = lines.index("# [rules.fresh]")
        end = lines.index("", start)
        lines[start:end] = [line.removeprefix("# ") for line in lines[start:end]]
        file.write_text("\n".join(lines))
        assert limits.load(file, registry).rules["fresh"].time_in_force == "ioc"
        assert not template.add_limits("fresh", tmp_path / "none.toml")
