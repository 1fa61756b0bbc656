"""Pre-trade risk: the state of orders, positions and limits as arrays, and one compiled gate over it.

``checks`` names the checks, ``layout`` the columns, ``arithmetic`` the exact products, ``exposure`` what
events do to the state, ``kernel`` the checks themselves; ``book`` and ``gate`` are what the agent uses.
"""

from execution.risk.book import DayMark, RiskBook
from execution.risk.checks import SPECS, Check, Level
from execution.risk.gate import RiskGate, pair_leg
from execution.risk.verdict import CheckResult, Refusal, Verdict

__all__ = [
    "SPECS",
    "Check",
    "CheckResult",
    "DayMark",
    "Level",
    "Refusal",
    "RiskBook",
    "RiskGate",
    "Verdict",
    "pair_leg",
]
