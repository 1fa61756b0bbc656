"""Sessions of gateways as the engine sees them: how far reports are booked, and what was asked there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from execution.journal import Journal
from execution.orders import OrderRecord


@dataclass(slots=True)
class GatewaySession:
    """One gateway's: the venue's record, and the last report that is durable here.

    asked: questions about an order that were not answered. stale: those of them that were asked before it was
    sent again, whose answers say nothing of it. A question or an answer that got lost makes an order wait for
    as many more, not for ever.
    """

    name: str = ""
    report_seq: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    stale: Counter[str] = field(default_factory=Counter)

    def answered(self, order_id: str) -> bool:
        """Take an answer; whether it says anything of the order as it was sent last."""
        self.asked[order_id] = max(0, self.asked[order_id] - 1)
        if self.stale[order_id] > 0:
            self.stale[order_id] -= 1
            return False
        return True

    def sent_again(self, order_id: str) -> None:
        """What was asked about it is stale."""
        self.stale[order_id] = self.asked[order_id]

    def forget(self, order_id: str) -> None:
        """It is finished."""
        self.asked.pop(order_id, None)
        self.stale.pop(order_id, None)


class Sessions:
    """All gateways' by name.

    Parameters
    ----------
    gateway_of : Callable[[str], str]
        The gateway that carries orders to a destination; empty where none does.
    """

    def __init__(self, journal: Journal, names: Sequence[str], gateway_of: Callable[[str], str]) -> None:
        self._journal, self._gateway_of = journal, gateway_of
        self._by_name = {name: GatewaySession() for name in names}

    def __getitem__(self, gateway: str) -> GatewaySession:
        return self._by_name[gateway]

    def recover(self) -> None:
        """Go on behind the reports that are durable."""
        self._by_name = {name: GatewaySession(*self._journal.last_report(name)) for name in self._by_name}

    def begin(self, gateway: str, session: str) -> str:
        """Logged on; the venue's record that was known before, if that was another one, else empty."""
        known, report_seq = self._journal.last_report(gateway)
        self._by_name[gateway] = GatewaySession(session, report_seq if known == session else 0)
        return known if known != session else ""

    def of(self, gateway: str, orders: Iterable[OrderRecord]) -> list[OrderRecord]:
        """Those of ``orders`` that a gateway carries."""
        return [order for order in orders if self._gateway_of(order.sent_to) == gateway]

    def ask(self, order: OrderRecord) -> None:
        """A question about an order leaves."""
        self._by_name[self._gateway_of(order.sent_to)].asked[order.order_id] += 1
