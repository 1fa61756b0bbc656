"""Trust: the state machine against plain dictionaries, whatever comes, and however the capture is cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.capture import CaptureBatch, RecordKind
from ingest.clock_records import limits_from, limits_record
from ingest.feeds import decoder_for
from ingest.trust import StaleLimits
from ingest.trusted import TrustedDecoder
from tests.ingest.toy_feed import NAMES, ToyDecoder, seq_of
from tickloom.clock import NS_PER_MS
from tickloom.events import TrustReason, TrustState
from tickloom.settings import ItchSettings, KrakenSettings

DATA, CONTROL, CLOCK = int(RecordKind.DATA), int(RecordKind.CONTROL), int(RecordKind.CLOCK)
Record = tuple[int, int, bytes]
Change = tuple[str, str, str, int, int, int]  # symbol, state, reason, since ms, first and last missing


def ms(value: float) -> int:
    return int(value * NS_PER_MS)


def limits(line: int = 0, instrument: int = 0, **of: int) -> bytes:
    return limits_record(ItchSettings(line_stale_ms=line, stale_ms=instrument, stale_ms_of=of))


def data(at_ms: float, *events: tuple[Any, ...], kind: int = DATA) -> Record:
    return kind, ms(at_ms), json.dumps(events).encode()


def run(records: list[Record], cuts: list[int] | None = None, **options: bool) -> list[Change]:
    return [change[:6] for change in changes_of(TrustedDecoder(ToyDecoder(**options)), records, cuts or [])]


def changes_of(decoder: TrustedDecoder, records: list[Record], cuts: list[int]) -> list[tuple[Any, ...]]:
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True):
        if start == stop:
            continue
        block = decoder.decode(CaptureBatch.of(records[start:stop], start + 1))
        for row in block.trust:
            found.append((
                block.symbols.names[row["symbol"]],
                TrustState(row["state"]).name.lower(),
                TrustReason(row["reason"]).name.lower(),
                row["ts_event"] / NS_PER_MS,
                int(row["first_missing"]),
                int(row["last_missing"]),
                int(row["ts_recv"]),
                int(row["seq"]),
                int(row["at_seq"]),
            ))  # fmt: skip
    return found


# by example


def test_silence_is_stale_since_its_limit_and_ends_with_the_next_event() -> None:
    """Limit 100 ms: silent from 10 on is stale since 110, said at the next record that shows the time."""
    records = [
        (CLOCK, ms(0), limits(instrument=100)),
        data(10, ("quote", "A")),
        data(20, ("quote", "B")),
        (CLOCK, ms(115), b""),
        data(119, ("trade", "B")),
        (CLOCK, ms(200), b""),
        data(300, ("delta", "A")),
    ]
    assert run(records) == [
        ("", "trusted", "heard", 10, 0, 0),
        ("A", "trusted", "heard", 10, 0, 0),
        ("B", "trusted", "heard", 20, 0, 0),
        ("A", "stale", "silent", 110, 0, 0),
        ("B", "stale", "silent", 219, 0, 0),
        ("A", "trusted", "heard", 300, 0, 0),
    ]


def test_each_instrument_has_its_own_limit_and_the_line_too() -> None:
    """Heartbeats keep the line, and only the line, from going stale; 0 is for ever."""
    records = [
        (CLOCK, ms(0), limits(line=50, instrument=100, A=20, B=0)),
        data(10, ("quote", "A"), ("quote", "B"), ("quote", "C")),
        *(data(at) for at in range(20, 200, 10)),
        (CLOCK, ms(300), b""),
    ]
    assert [change[:4] for change in run(records)[4:]] == [
        ("A", "stale", "silent", 30),
        ("C", "stale", "silent", 110),
        ("", "stale", "silent", 240),
    ]
    decoder = TrustedDecoder(ToyDecoder())
    changes_of(decoder, records, [])
    assert decoder.trust() == {TrustState.TRUSTED: 0, TrustState.STALE: 3, TrustState.BROKEN: 0}
    assert decoder.states()["B"] is TrustState.STALE  # for the line is


def test_a_gap_breaks_every_instrument_until_its_next_quote_and_says_the_range() -> None:
    """Of a feed that does not say which books are wrong; a trade says nothing of a book."""
    records = [
        data(10, ("quote", "A"), ("quote", "B")),
        data(20, ("gap", "", 7, 9, "sequence")),
        data(30, ("trade", "A")),
        data(40, ("quote", "B")),
        data(50, ("quote", "A"), ("quote", "C")),
    ]
    assert run(records)[3:] == [
        ("A", "broken", "sequence", 20, 7, 9),
        ("B", "broken", "sequence", 20, 7, 9),
        ("B", "trusted", "requoted", 40, 0, 0),
        ("A", "trusted", "requoted", 50, 0, 0),
        ("C", "trusted", "heard", 50, 0, 0),
    ]


def test_a_book_is_broken_while_it_is_lost_and_the_gap_gives_the_reason() -> None:
    """A feed that says which books are wrong: no quote mends one; a lost connection is the line's too."""
    records = [
        data(10, ("quote", "A")),
        data(20, ("synced", "A")),
        data(30, ("gap", "A", 4, 4, "book"), ("lost", "A")),
        data(40, ("quote", "A")),
        data(50, ("synced", "A")),
        data(60, ("gap", "", 0, 0, "disconnect"), ("lost", "A"), kind=CONTROL),
        data(70),
        data(80, ("synced", "A")),
        data(90, ("gap", "A", 1, 2, "sequence")),
        data(95, ("quote", "A")),
    ]
    assert run(records, tells_books=True)[1:] == [
        ("A", "broken", "unsynced", 10, 0, 0),
        ("A", "trusted", "synced", 20, 0, 0),
        ("A", "broken", "book", 30, 4, 4),
        ("A", "trusted", "synced", 50, 0, 0),
        ("", "broken", "disconnect", 60, 0, 0),
        ("A", "broken", "disconnect", 60, 0, 0),
        ("", "trusted", "heard", 70, 0, 0),
        ("A", "trusted", "synced", 80, 0, 0),
        ("A", "broken", "sequence", 90, 1, 2),  # a hole in its trades
        ("A", "trusted", "requoted", 95, 0, 0),
    ]


def test_what_is_broken_says_nothing_of_silence() -> None:
    """Broken is worse than stale, and what mends a book is a sign of life."""
    records = [
        (CLOCK, 0, limits(instrument=10)),
        data(1, ("synced", "A")),
        data(2, ("lost", "A")),
        (CLOCK, ms(100), b""),
        data(101, ("synced", "A")),
        (CLOCK, ms(120), b""),
    ]
    assert [change[:4] for change in run(records, tells_books=True)[1:]] == [
        ("A", "trusted", "synced", 1),
        ("A", "broken", "book", 2),
        ("A", "trusted", "synced", 101),
        ("A", "stale", "silent", 111),
    ]


def test_a_clock_that_is_set_back_makes_nothing_stale() -> None:
    """Five seconds back, with a limit of one: what goes on coming is heard all the same."""
    records = [(CLOCK, ms(10_000), limits(instrument=1_000)), data(10_000, ("quote", "A"))]
    records += [data(5_000 + 100 * step, ("quote", "A")) for step in range(1, 100)]
    assert [change[1] for change in run(records)] == ["trusted", "trusted"]


def test_limits_travel_in_the_capture() -> None:
    """What an ingester writes of its settings is what a replay reads, whatever its own settings are."""
    kraken = KrakenSettings(stale_ms=7, stale_ms_of={"BTC-CHF": 5}, line_stale_ms=3)
    assert limits_from(limits_record(kraken)) == StaleLimits(ms(3), ms(7), {"BTC-CHF": ms(5)})
    for payload in (b"", b"{}", b"[1]", b'{"line_ms":1,"instrument_ms":1,"of":{"A":"x"}}'):
        assert limits_from(payload) is None


# against plain dictionaries

EVENTS = st.one_of(
    st.tuples(st.sampled_from(("quote", "trade", "delta", "halted")), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(("lost", "synced")), st.sampled_from(("", *NAMES))),
    st.tuples(
        st.just("gap"), st.sampled_from(("", *NAMES)), st.integers(1, 9), st.integers(10, 20),
        st.sampled_from(("sequence", "malformed", "book")),
    ),
)  # fmt: skip
STEPS = st.integers(-30, 60)
RECORDS = st.lists(
    st.one_of(
        st.tuples(st.just(DATA), STEPS, st.lists(EVENTS, max_size=3)),
        st.tuples(st.just(CLOCK), STEPS, st.none()),
        st.tuples(st.just(CLOCK), STEPS, st.dictionaries(st.sampled_from(NAMES), st.integers(0, 90))),
        st.tuples(st.just(CONTROL), STEPS, st.just([("gap", "", 0, 0, "disconnect"), ("lost", "B")])),
    ),
    max_size=40,
)


def written(steps: list[tuple[int, int, Any]]) -> list[Record]:
    found, now = [], 1_000
    for kind, step, content in steps:
        now += step
        if kind == CLOCK:
            payload = b"" if content is None else limits(line=content.get("C", 40), instrument=80, **content)
        else:
            payload = json.dumps(content).encode()
        found.append((kind, ms(now), payload))
    return found


class Reference:
    """The rules of docs/decisions/0010, one record, one event and one symbol at a time."""

    def __init__(self, tells_books: bool, builds_books: bool) -> None:
        self.tells_books, self.builds_books = tells_books, builds_books and not tells_books
        self.proof: set[str] = set()  # whose quotes prove nothing
        self.last: dict[str, int] = {}
        self.lost: dict[str, bool] = {}
        self.gap: dict[str, int] = {}
        self.stale: set[str] = set()
        self.state: dict[str, str] = {}
        self.bound = StaleLimits()
        self.clock = self.looked = 0
        self.stretch = -1
        self.said: list[tuple[str, str]] = []

    def say(self, symbol: str) -> None:
        lost = self.lost.get(symbol, bool(symbol) and self.tells_books)
        state = "broken" if lost or symbol in self.gap else "stale" if symbol in self.stale else "trusted"
        if self.state.get(symbol) != state:
            self.state[symbol] = state
            self.said.append((symbol, state))

    def alive(self, symbol: str, ts: int) -> None:
        self.last[symbol] = max(self.last.get(symbol, 0), ts, self.looked)

    def record(self, kind: int, ts: int, payload: bytes, number: int) -> None:
        self.clock = max(self.clock, ts)
        if kind == CLOCK and payload:
            found = limits_from(payload)
            assert found is not None
            self.bound, self.stretch = found, -1
        if self.bound.check_ns and self.clock // self.bound.check_ns != self.stretch:
            self.stretch, self.looked = self.clock // self.bound.check_ns, self.clock
            due = {name: last + self.bound.limit_ns(name) for name, last in self.last.items()}
            late = [name for name in due if self.bound.limit_ns(name) and due[name] <= self.clock]
            for name in sorted(late, key=lambda name: (due[name], ("", *NAMES).index(name))):
                if name not in self.stale:
                    self.stale.add(name)
                    self.say(name)
        if kind == CLOCK:
            return
        if kind == DATA:
            self.alive("", ts)
            self.stale.discard("")
            self.lost[""] = False
            self.say("")
        self.events(ts, json.loads(payload), number)

    def events(self, ts: int, events: list[Any], number: int) -> None:
        order = {"gap": 0, "lost": 1, "synced": 1}
        signs = ("trade", "delta", "quote", "halted")  # as ingest.proof.rows_of has them
        events = sorted(
            events, key=lambda each: order.get(each[0], 2 + (signs.index(each[0]) if each[0] in signs else 0))
        )
        for kind, symbol, *rest in events:
            heard_of = [name for name in ("", *NAMES) if name and name in self.state]
            meant = [symbol] if symbol else heard_of
            if kind == "gap":
                if rest[2] == "disconnect":
                    self.lost[""] = True
                    self.say("")
                if not symbol and self.tells_books:
                    continue
                if self.builds_books:
                    self.proof.update(meant if symbol else NAMES)
                    self.gap |= dict.fromkeys(meant if symbol else NAMES, number)
                for name in meant:
                    self.gap[name] = number
                    self.say(name)
            elif kind == "lost":
                for name in meant:
                    self.lost[name] = True
                    self.say(name)
            elif kind == "synced":
                for name in {*meant, *(name for name in NAMES if name not in self.state)}:
                    self.proof.discard(name)
                    self.gap.pop(name, None)
                for name in meant:
                    self.lost[name] = False
                    self.stale.discard(name)
                    self.alive(name, ts)
                    self.say(name)
            else:
                self.alive(symbol, ts)
                lost = self.lost.get(symbol, self.tells_books)
                if not lost or symbol not in self.state:
                    self.stale.discard(symbol)
                quoted = kind == "quote" and not lost and symbol not in self.proof
                if quoted and number > self.gap.get(symbol, number):
                    del self.gap[symbol]
                self.say(symbol)


@settings(max_examples=150, deadline=None)
@given(RECORDS, st.booleans(), st.booleans())
def test_states_are_those_of_plain_dictionaries(
    steps: list[tuple[int, int, Any]], tells_books: bool, builds_books: bool
) -> None:
    """Any capture, any order, clock set back or not: the same changes in the same order. (No quote of this
    feed is proven.)"""
    records, reference = written(steps), Reference(tells_books, builds_books)
    for number, record in enumerate(records, 1):
        reference.record(*record, number)
    found = run(records, tells_books=tells_books, builds_books=builds_books)
    assert [change[:2] for change in found] == reference.said


@settings(max_examples=100, deadline=None)
@given(RECORDS, st.sampled_from([(False, False), (True, False), (False, True)]), st.data())
def test_changes_do_not_depend_on_how_the_capture_is_cut(
    steps: list[tuple[int, int, Any]], books: tuple[bool, bool], drawn: st.DataObject
) -> None:
    """In one batch or in many: the same bytes. Numbers rise by one, and times of a symbol rise."""
    records = written(steps)
    cuts = sorted(drawn.draw(st.lists(st.integers(0, len(records)), max_size=12)))
    whole = changes_of(TrustedDecoder(ToyDecoder(*books)), records, [])
    assert changes_of(TrustedDecoder(ToyDecoder(*books)), records, cuts) == whole
    assert [change[7] for change in whole] == [seq_of(number) for number in range(1, len(whole) + 1)]
    for name in ("", *NAMES):
        own = [change for change in whole if change[0] == name]
        assert all(before[3] < after[3] for before, after in pairwise(own))
        assert all(before[1] != after[1] for before, after in pairwise(own))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=40))
def test_stale_is_silence_of_the_limit_and_no_less(steps: list[tuple[int, bool]]) -> None:
    """Where the time is said often enough, stale is from the limit after an event to the next, exactly."""
    limit = 4  # looked at each ms
    times = np.cumsum([step for step, _ in steps]).tolist()
    heard = [at for at, (_, quote) in zip(times, steps, strict=True) if quote]
    records: list[Record] = [(CLOCK, 0, limits(instrument=limit))]
    for at in range(1, times[-1] + 1):
        records.append((CLOCK, ms(at), b""))
        if at in heard:
            records.append(data(at, ("quote", "A")))
    wanted: list[tuple[str, float]] = []
    for at, following in zip(heard, [*heard[1:], times[-1] + limit], strict=False):
        if not wanted or wanted[-1][0] == "stale":
            at_once = bool(wanted) and wanted[-1][1] == at  # two changes never have one time
            wanted.append(("trusted", at + 1 / NS_PER_MS if at_once else at))
        if at + limit <= min(following, times[-1]):
            wanted.append(("stale", at + limit))
    assert [(change[1], change[3]) for change in run(records) if change[0] == "A"] == wanted


@pytest.mark.parametrize("section", ["itch", "kraken"])
def test_limits_are_settings(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a venue, and of one instrument, from the environment as from a file."""
    monkeypatch.setenv(f"TICKLOOM_{section.upper()}_STALE_MS", "1234")
    monkeypatch.setenv(f"TICKLOOM_{section.upper()}_STALE_MS_OF", '{"ALFA": 10}')
    loaded = {"itch": ItchSettings, "kraken": KrakenSettings}[section].load()
    assert (loaded.stale_ms, loaded.stale_ms_of) == (1_234, {"ALFA": 10})


@pytest.mark.parametrize("venue", ["XNAS", "IEXG", "BINANCE", "KRAKEN", "OKX", "COINBASE", "BYBIT"])
def test_a_decoder_by_itself_passes_over_clock_records(venue: str) -> None:
    """Who reads a capture without the pipeline finds nothing odd in them."""
    decoder = decoder_for(venue, "20261121")
    block = decoder.decode(CaptureBatch.of([(CLOCK, 1, limits(line=1)), (CLOCK, 2, b"")]))
    assert len(block) == 0
    assert +decoder.counters == {}
