"""Reports of own orders in, what each destination can be expected to do out. Pure.

*Fill ratio.* A share of what was asked for is a trial of a Beta distribution whose prior counts for
``prior_weight`` orders; older trials lose half their weight every ``half_life_orders``. There are three of
them: what is displayed and aimed at (in a dark pool: a ping), what is asked for beyond that, and posts.

*Latency.* The round trip from the intent to the first answer, as RFC 6298 (section 2) smooths it: gain 1/8
for the mean, 1/4 for the deviation. An answer later than :data:`SAMPLE_NS_MAX` was an outage and is no
sample, which also keeps out orders that were sent again (Karn's rule, section 3).

*Rejects.* So many in a row leave a destination out for a while, twice as long each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from execution.destinations import Destination, Destinations
from execution.orders import OrderRecord
from execution.router.settings import LearnSettings, RoutingSettings
from execution.venues import Report, ReportType
from tickloom.clock import NS_PER_MS, NS_PER_S
from tickloom.events import OrderState

SAMPLE_NS_MAX = NS_PER_S  # half the time after which an order's fate is unknown
REMEMBERED_MAX = 4_096  # orders whose answers are awaited; beyond it the oldest is forgotten

_ENDED = frozenset({ReportType.CANCELLED, ReportType.EXPIRED})
#: What a destination says of an order by itself: no answer to a question, and no change of what is over.
_ANSWERS = _ENDED | {ReportType.NEW, ReportType.TRADE, ReportType.REJECTED}


@dataclass(slots=True)
class Ratio:
    """A Beta distribution of a share in [0, 1], with forgetting."""

    prior: float
    weight: float
    decay: float
    hits: float = 0.0
    misses: float = 0.0

    @property
    def mean(self) -> float:
        return (self.prior * self.weight + self.hits) / (self.weight + self.hits + self.misses)

    def add(self, share: float) -> None:
        """One more trial, of which ``share`` succeeded."""
        share = min(1.0, max(0.0, share))
        self.hits = self.hits * self.decay + share
        self.misses = self.misses * self.decay + 1.0 - share


@dataclass(slots=True)
class Latency:
    """Round trip, ns: mean and mean deviation."""

    mean_ns: float
    deviation_ns: float = 0.0
    samples: int = 0

    def add(self, sample_ns: int) -> None:
        if not self.samples:
            self.mean_ns, self.deviation_ns = float(sample_ns), sample_ns / 2
        else:
            self.deviation_ns += (abs(self.mean_ns - sample_ns) - self.deviation_ns) / 4
            self.mean_ns += (sample_ns - self.mean_ns) / 8
        self.samples += 1


@dataclass(slots=True)
class Known:
    """What is known of one destination."""

    fill: Ratio
    hidden: Ratio
    post: Ratio
    round_trip: Latency
    rejects: int = 0  # in a row
    outages: int = 0  # in a row, for the back-off
    until_ns: int = 0
    orders: int = 0
    rejected: int = 0

    @property
    def one_way_ns(self) -> int:
        return round(self.round_trip.mean_ns / 2)

    @property
    def reject_ratio(self) -> float:
        """Of all that were answered."""
        return self.rejected / self.orders if self.orders else 0.0


@dataclass(slots=True)
class _Asked:
    answered: bool = False
    shown: int | None = None  # of what the order aimed at, nanos


@dataclass(slots=True)
class Experience:
    """All destinations'. ``shown`` is told when slices are made; see :meth:`aimed`."""

    settings: RoutingSettings
    destinations: Destinations
    _known: dict[str, Known] = field(default_factory=dict)
    _asked: OrderedDict[str, _Asked] = field(default_factory=OrderedDict)
    _shown: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict)

    def of(self, destination: Destination) -> Known:
        """What is known of a destination; at first its priors."""
        known = self._known.get(destination.name)
        if known is None:
            known = self._known[destination.name] = self._new(destination)
        return known

    def _new(self, destination: Destination) -> Known:
        learn: LearnSettings = self.settings.learn
        decay = 0.5 ** (1 / learn.half_life_orders)
        fill = self.settings.dark.fill_prior if destination.dark else learn.fill_prior
        return Known(
            fill=Ratio(fill, learn.prior_weight, decay),
            hidden=Ratio(learn.hidden_prior, learn.prior_weight, decay),
            post=Ratio(self.settings.post.fill_prior, learn.prior_weight, decay),
            round_trip=Latency(2.0 * destination.latency_ns),
        )

    def left_out(self, destination: Destination, now_ns: int) -> str:
        """Why it is not asked now; empty: it is."""
        known = self._known.get(destination.name)
        if known is None or now_ns >= known.until_ns:
            return ""
        return f"rejected {known.rejected} of {known.orders}: left out for a while"

    def aimed(self, parent_id: str, destination: str, shown: int) -> None:
        """A slice of the parent goes there, where so much of it is displayed, nanos."""
        self._shown[(parent_id, destination)] = shown
        if len(self._shown) > REMEMBERED_MAX:
            self._shown.popitem(last=False)

    def on_report(self, child: OrderRecord, report: Report, now_ns: int) -> None:
        """Learn from one answer; of an order that has ended, what came of it."""
        destination = self.destinations.by_name.get(child.sent_to)
        if destination is None or report.report_type not in _ANSWERS:
            return
        known, kind = self.of(destination), report.report_type
        asked = self._asked.get(child.order_id)
        if asked is None:
            shown = self._shown.pop((child.parent_id, destination.name), None)
            asked = self._asked[child.order_id] = _Asked(shown=shown)
            if len(self._asked) > REMEMBERED_MAX:
                self._asked.popitem(last=False)
        if not asked.answered:
            asked.answered = True
            known.orders += 1
            if 0 < now_ns - child.ts_created <= SAMPLE_NS_MAX:
                known.round_trip.add(now_ns - child.ts_created)
        if kind is ReportType.REJECTED:
            self._rejected(known, now_ns)
            self._asked.pop(child.order_id, None)
            return
        if kind in (ReportType.NEW, ReportType.TRADE):
            known.rejects = known.outages = 0
        if kind in _ENDED or (kind is ReportType.TRADE and report.filled_quantity >= child.quantity):
            self._asked.pop(child.order_id, None)
            _judge(known, child, report.filled_quantity, asked.shown)

    def _rejected(self, known: Known, now_ns: int) -> None:
        learn = self.settings.learn
        known.rejected += 1
        known.rejects += 1
        if known.rejects >= learn.rejects_max:
            pause_ms = min(learn.backoff_ms << min(known.outages, 16), learn.backoff_ms_max)
            known.until_ns = now_ns + pause_ms * NS_PER_MS
            known.outages += 1
            known.rejects = 0

    def recover(self, children: Iterable[OrderRecord]) -> None:
        """Learn fill ratios from orders of the journal, oldest first, as after a restart."""
        for child in children:
            destination = self.destinations.by_name.get(child.sent_to)
            if child.parent_id and destination is not None and child.state in _LEARNT_FROM:
                _judge(self.of(destination), child, child.filled_quantity, None)


_LEARNT_FROM = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED})


def _judge(known: Known, child: OrderRecord, filled: int, shown: int | None) -> None:
    """An order has ended with so much filled."""
    if child.quantity <= 0:
        return
    if child.time_in_force != "ioc":
        known.post.add(filled / child.quantity)
        return
    aimed = child.quantity if shown is None else min(shown, child.quantity)
    if aimed:
        known.fill.add(min(filled, aimed) / aimed)
    beyond = child.quantity - aimed
    if beyond and filled >= aimed:
        known.hidden.add((filled - aimed) / beyond)
