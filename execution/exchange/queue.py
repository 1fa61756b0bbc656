"""Where in a price level's queue an order of ours stands. Pure.

The feed shows a level's total size and its trades, not who stands where. An order that comes to rest
has all that is displayed ahead of it. Trades at the level take from the front. A decrease that no trade
explains is cancels, of which a part was ahead: proportional, as every share is as likely to go as any
other (``VenueProfile.cancel_ahead`` makes it less).

Levels and trades come on two topics, in no common order, and both say what one message of the venue did;
so each is known by ``seq``. A trade that comes before its decrease is waited for; a decrease that comes
before its trade is taken for cancels, and corrected when the trade comes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOWS_MAX = 64  # decreases that a late trade may still correct; seconds of a busy level


@dataclass(slots=True)
class _Window:
    """A decrease taken for cancels: of sequence numbers above ``after`` up to ``seq``."""

    after: int
    seq: int
    ahead: int
    displayed: int
    cancelled: int


@dataclass(slots=True)
class QueuePosition:
    """A resting order's place.

    Attributes
    ----------
    ahead : int
        Volume of the market before us at our price, nanos, never below 0.
    since : int
        The newest ``seq`` that the book had when we came: older trades are none of ours.
    """

    ahead: int
    cancel_ahead: float = 1.0
    since: int = -1
    _windows: deque[_Window] = field(default_factory=lambda: deque(maxlen=WINDOWS_MAX))

    def consume(self, quantity: int) -> None:
        """So much of what was ahead has been traded."""
        self.ahead = max(0, self.ahead - quantity)

    def decrease(self, after: int, seq: int, displayed_before: int, displayed: int, traded: int) -> None:
        """The level went from one displayed size to another, of which ``traded`` is explained.

        Parameters
        ----------
        after, seq : int
            The sequence numbers of the level's last change and of this one.
        """
        cancelled = max(0, displayed_before - displayed - traded)
        window = _Window(after, seq, self.ahead, max(0, displayed_before - traded), cancelled)
        self._windows.append(window)
        self.ahead = self._left(window)

    def late_trade(self, seq: int, quantity: int) -> None:
        """A trade whose decrease was taken for cancels: put back what it takes away in its own right.

        To be followed by the consumption; then the position is what it would have been in order.
        """
        for window in self._windows:
            if window.after < seq <= window.seq and window.cancelled:
                told = self._left(window)
                consumed = min(quantity, window.ahead)
                window.ahead -= consumed
                window.displayed = max(0, window.displayed - quantity)
                window.cancelled = max(0, window.cancelled - quantity)
                self.ahead = max(0, self.ahead + self._left(window) + consumed - told)
                return

    def _left(self, window: _Window) -> int:
        """What is ahead when the cancels of a window are gone."""
        gone = 0
        if window.displayed > 0 and window.cancelled > 0:
            gone = window.ahead * min(window.cancelled, window.displayed) // window.displayed
            gone = gone if self.cancel_ahead == 1.0 else int(gone * self.cancel_ahead)
        # nobody is ahead who is not there; nothing of ours is in the displayed size
        return min(window.ahead - gone, max(0, window.displayed - window.cancelled))
