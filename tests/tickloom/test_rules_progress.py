"""How far a run over history is, in percent of its time."""

from __future__ import annotations

import pytest

from tickloom.cli.rules.progress import TimeProgress, figures
from tickloom.clock import NS_PER_S, ReplayClock

BEGIN_NS, END_NS = 1_000 * NS_PER_S, 1_100 * NS_PER_S


def shown(progress: TimeProgress) -> tuple[str, float, str]:
    """Stage, percent and rate of the bar."""
    (task,) = progress._bar.tasks
    return task.description, task.percentage, task.fields["rate"]


def test_bar_follows_event_time() -> None:
    """Percent of the time range; ticks a second of the clock; beyond both ends it stays."""
    clock = ReplayClock(0)
    progress = TimeProgress(["matching"], BEGIN_NS, END_NS, shown=False, clock=clock)
    progress.reached(BEGIN_NS - NS_PER_S, 0)
    assert shown(progress) == ("matching", 0, "")
    clock.advance_by(2 * NS_PER_S)
    progress.reached(BEGIN_NS + 25 * NS_PER_S, 500_000)
    assert shown(progress) == ("matching", 25, "250,000 ticks/s")
    progress.reached(END_NS + NS_PER_S, 600_000)
    assert shown(progress)[1] == 100


def test_time_that_goes_back_begins_the_next_stage() -> None:
    """Events go to Kafka first, and are matched then: each over the whole time."""
    progress = TimeProgress(["to Kafka", "matching"], BEGIN_NS, END_NS, shown=False, clock=ReplayClock(0))
    progress.reached(END_NS, 9)
    progress.reached(BEGIN_NS + 10 * NS_PER_S, 0)
    assert shown(progress)[:2] == ("matching", 10)
    progress.reached(BEGIN_NS + 5 * NS_PER_S, 0)
    assert shown(progress)[:2] == ("matching", 5)


def test_nothing_is_drawn_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is no terminal here."""
    with TimeProgress(["matching"], BEGIN_NS, END_NS) as progress:
        progress.reached(END_NS, 1)
    assert capsys.readouterr() == ("", "")


def test_figures_in_words() -> None:
    """Of the last line."""
    assert figures(1_000_000, 2.0) == "1,000,000 ticks in 2.0 s, 500,000 a second"
