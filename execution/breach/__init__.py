"""A limit that is breached by what is held already: noticed, and taken down by a declared plan.

``detect`` compares the book with its limits, ``unwinding`` is one plan under way (pure), ``desk`` runs the
plans of all breaches and gathers what they want done.
"""

from execution.breach.desk import BreachDesk, DeskActions
from execution.breach.detect import Breach, BreachKind, detect
from execution.breach.unwinding import (
    Actions,
    Holdings,
    OpenOrder,
    PairLegs,
    Slice,
    Stage,
    Unwinding,
    UnwindingEvent,
    UnwindingState,
)

__all__ = [
    "Actions",
    "Breach",
    "BreachDesk",
    "BreachKind",
    "DeskActions",
    "Holdings",
    "OpenOrder",
    "PairLegs",
    "Slice",
    "Stage",
    "Unwinding",
    "UnwindingEvent",
    "UnwindingState",
    "detect",
]
