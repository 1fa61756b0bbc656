"""What a FIX session is agreed to be, and what comes out of one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from execution.fix.codec import Message
from execution.fix.dictionary import DICTIONARIES
from tickloom.clock import NS_PER_DAY, NS_PER_S
from tickloom.errors import SettingsError

#: MsgTypes of the session layer; all others are the application's.
ADMIN = frozenset({b"0", b"1", b"2", b"3", b"4", b"5", b"A"})
_HOUR = re.compile("(?:[01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True, slots=True)
class SessionConfiguration:
    """One session, as both sides agreed on it.

    Parameters
    ----------
    sender, target : str
        SenderCompID and TargetCompID of what *we* send.
    initiator : bool
        We connect and log on; else the counterparty does.
    app_types : frozenset of str
        MsgTypes that the application takes; others are answered with BusinessMessageReject.
    heartbeat_s : int
        HeartBtInt an initiator asks for; an acceptor takes what it is asked for, up to 3600.
    reset_on_logon : bool
        Begin at 1 at each logon. What was missed is then missed for good: never for orders that matter.
    reset_utc : str
        "HH:MM" of the day at which both sides begin at 1 again, by agreement; empty: never. A session that is
        up then is logged out first.
    latency_s_max : int
        SendingTime may be so far from our clock, either way; 0: not looked at.
    user_fields : bool
        Let tags from 5000 on through.
    logon_fields : tuple of (tag, text)
        What an initiator's logon carries besides (553, 554), and what an acceptor demands of one.
    """

    sender: str
    target: str
    initiator: bool
    app_types: frozenset[str]
    begin_string: str = "FIX.4.4"
    heartbeat_s: int = 30
    reset_on_logon: bool = False
    reset_utc: str = ""
    latency_s_max: int = 120
    logon_timeout_s: int = 10
    logout_timeout_s: int = 2
    user_fields: bool = False
    logon_fields: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        if self.begin_string.encode() not in DICTIONARIES:
            known = ", ".join(sorted(name.decode() for name in DICTIONARIES))
            raise SettingsError(f"{self.begin_string} is not spoken here; set begin_string to one of {known}")
        if self.reset_utc and not _HOUR.fullmatch(self.reset_utc):
            raise SettingsError(f"reset_utc {self.reset_utc!r} is no time of day; write HH:MM, in UTC")

    def last_reset_ns(self, now_ns: int) -> int:
        """When the numbering had to begin again most lately, ns since the epoch; 0: never."""
        if not self.reset_utc:
            return 0
        minutes = int(self.reset_utc[:2]) * 60 + int(self.reset_utc[3:])
        at_ns = now_ns - now_ns % NS_PER_DAY + minutes * 60 * NS_PER_S
        return at_ns if at_ns <= now_ns else at_ns - NS_PER_DAY

    @property
    def name(self) -> str:
        """The session's identity."""
        return f"{self.begin_string}:{self.sender}->{self.target}"


@dataclass(frozen=True, slots=True)
class LoggedOn:
    """Both logons are there. ``epoch`` names the numbering; another one than before: numbers began at 1."""

    epoch: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """An application message, in sequence, once. It counts as received when the next event is asked for."""

    message: Message


@dataclass(frozen=True, slots=True)
class Rejected:
    """The counterparty rejected (Reject, 3) what we sent under ``ref_seq_num``."""

    ref_seq_num: int
    ref_msg_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something to log: garbled bytes, a gap, a rejected message."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Write what is left and cut the connection."""

    reason: str


Event = LoggedOn | Delivered | Rejected | Noted | Ended
