"""Limits changed at run time: on the record, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from execution.limits import Change, LimitsWatch, audit_path, audit_trail, change_limits, load, unrecorded
from execution.limits import change as change_module
from execution.risk import RiskBook
from tests.execution.risk.world import limits, registry
from tests.execution.test_limits import GOOD, REGISTRY
from tickloom.clock import ReplayClock
from tickloom.errors import LimitsError
from tickloom.prices import NANOS

CLOCK = ReplayClock(1_800_000_000 * NANOS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "limits.toml"
    found.write_text(GOOD.replace('daily_loss_max = "100"', 'daily_loss_max = "100" # of a day'))
    return found


def audit(path: Path) -> Path:
    return path.with_name("limits.audit.jsonl")


def change(path: Path, *changes: Change, who: str = "ann", why: str = "a quiet day") -> int:
    return change_limits(path, audit(path), REGISTRY, changes, who, why, CLOCK).revision


def test_a_change_is_in_the_file_with_its_comments_and_on_the_record(path: Path) -> None:
    """A key changed, one added, one taken out, a table added; who, why, before and after are kept."""
    before = load(path, REGISTRY)
    changes = (
        Change("firm", "daily_loss_max", '"250"'),
        Change("rules.momentum", "position_max", '"7"'),
        Change('instruments."XNAS.ALFA"', "collar_bps", None),
        Change('instruments."XNAS.BRVO"', "restricted", "true"),
    )
    assert change(path, *changes) == 1
    after = load(path, REGISTRY)
    assert (after.revision, after.firm.daily_loss_max) == (1, 250 * NANOS)
    assert after.rules["momentum"].position_max == 7 * NANOS
    assert after.instrument("XNAS", "ALFA").collar_bps == 100
    assert after.instrument("XNAS", "BRVO").restricted
    assert 'daily_loss_max = "250" # of a day' in path.read_text()
    (record,) = audit_trail(audit(path))
    assert (record.who, record.why, record.ts, record.revision) == ("ann", "a quiet day", CLOCK.now_ns(), 1)
    assert (record.digest_before, record.digest) == (before.digest, after.digest)
    assert record.changes == (
        ("firm", "daily_loss_max", '"100"', '"250"'),
        ("rules.momentum", "position_max", None, '"7"'),
        ('instruments."XNAS.ALFA"', "collar_bps", "7", None),
        ('instruments."XNAS.BRVO"', "restricted", None, "true"),
    )
    assert unrecorded(audit(path), after) == ""


@pytest.mark.parametrize(
    ("changes", "who", "why", "finding"),
    [
        ([Change("firm", "daily_loss_max", '"a lot"')], "ann", "why", "is no decimal number"),
        ([Change("firm", "daily_lost_max", '"1"')], "ann", "why", "did you mean 'daily_loss_max'?"),
        ([Change("firm", "daily_loss_max", None)], "ann", "why", "daily_loss_max is missing"),
        ([Change("firm", "position_max", None)], "ann", "why", "no position_max to take out"),
        ([Change("firm", "position_max", "1]")], "ann", "why", "is not TOML"),
        ([Change("firm", "position_max", '"1"\nvar_max = "1"')], "ann", "why", "more than a value"),
        ([Change("firm", "position_max", '"1"')], " ", "why", "who asks for it"),
        ([Change("firm", "position_max", '"1"')], "ann", "", "and why"),
        ([], "ann", "why", "no key"),
    ],
)
def test_what_is_refused_touches_nothing(
    path: Path, changes: list[Change], who: str, why: str, finding: str
) -> None:
    """A malformed change leaves file and record as they were, to the byte."""
    before = path.read_bytes()
    with pytest.raises(LimitsError) as caught:
        change(path, *changes, who=who, why=why)
    assert finding in str(caught.value)
    assert path.read_bytes() == before
    assert audit_trail(audit(path)) == []


def test_revisions_grow_and_the_trail_is_a_chain(path: Path) -> None:
    """Each record follows from the one before; one that was altered, or taken out, shows."""
    for number in range(3):
        assert change(path, Change("firm", "open_orders_max", str(number))) == number + 1
    assert [record.revision for record in audit_trail(audit(path))] == [1, 2, 3]
    lines = audit(path).read_text().splitlines(keepends=True)
    altered = json.loads(lines[1])
    altered["who"] = "bob"
    for tampered in ([lines[0], json.dumps(altered) + "\n", lines[2]], [lines[0], lines[2]]):
        audit(path).write_text("".join(tampered))
        with pytest.raises(LimitsError, match="does not follow"):
            audit_trail(audit(path))
        with pytest.raises(LimitsError, match="does not follow"):
            change(path, Change("firm", "open_orders_max", "9"))


def test_a_crash_before_the_file_was_moved_leaves_the_old_one_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record says what was meant, the file is the old one, and that they differ is seen."""
    change(path, Change("firm", "open_orders_max", "1"))
    before = path.read_bytes()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(change_module, "_replace", crash)
    with pytest.raises(KeyboardInterrupt):
        change(path, Change("firm", "open_orders_max", "2"))
    assert path.read_bytes() == before
    assert "edited past the record" in unrecorded(audit(path), load(path, REGISTRY))


def test_a_record_cut_short_by_a_crash_is_none(path: Path) -> None:
    """What is left of a last line is dropped, and the next change follows from the last whole one."""
    change(path, Change("firm", "open_orders_max", "1"))
    with audit(path).open("a") as out:
        out.write('{"ts": 1, "who": "b')
    assert change(path, Change("firm", "open_orders_max", "2")) == 2
    assert [record.revision for record in audit_trail(audit(path))] == [1, 2]


def test_an_edit_past_the_record_is_seen(path: Path) -> None:
    """A file that somebody edited by hand is not that of the last recorded change."""
    change(path, Change("firm", "open_orders_max", "1"))
    path.write_text(path.read_text().replace("open_orders_max = 1", "open_orders_max = 1000"))
    assert "ann" in unrecorded(audit(path), load(path, REGISTRY))


def test_older_limits_do_not_come_into_force_again() -> None:
    """A book takes limits of a higher revision, and keeps those it has when given older or other ones."""
    book = RiskBook(registry(), limits(revision=3))
    newer = limits({"firm": {"open_orders_max": "1"}}, revision=4)
    book.apply_limits(newer)
    assert book.limits_file is newer
    for stale in (limits(revision=3), limits(revision=4)):
        with pytest.raises(LimitsError, match="does not follow"):
            book.apply_limits(stale)
    assert book.limits_file is newer


def test_a_watch_gives_recorded_changes_once_and_refuses_others(path: Path) -> None:
    """A change on the record comes with who and why; a hand's edit and a malformed file are told of once."""
    watch = LimitsWatch(path, REGISTRY, load(path, REGISTRY))
    assert watch.poll() is None
    change_limits(
        path,
        audit_path(path),
        REGISTRY,
        [Change("firm", "open_orders_max", "1")],
        "ann",
        "a quiet day",
        CLOCK,
    )
    found = watch.poll()
    assert found is not None
    assert (found[0].revision, found[1], found[2]) == (1, "ann", "a quiet day")
    assert watch.poll() is None
    for text in (path.read_text().replace("open_orders_max = 1", "open_orders_max = 1000"), "[firm"):
        path.write_text(text)
        with pytest.raises(LimitsError):
            watch.poll()
        assert watch.poll() is None


def test_a_watch_refuses_a_first_edit_by_hand(path: Path) -> None:
    """Without any record there is nobody to ask why."""
    watch = LimitsWatch(path, REGISTRY, load(path, REGISTRY))
    path.write_text(path.read_text() + "# more\n")
    with pytest.raises(LimitsError, match="nothing is on the record"):
        watch.poll()
