"""Rules over an absence: an event that should have come, within a time, and did not.

A second kind of rule beside the pattern (``-- kind: absence``), with the same header, parameters, sets,
outputs and identity. ``text`` cuts a rule into its parts, ``findings`` judges them, ``measures`` takes
the measures apart. Then ``flink`` builds what Flink runs; and ``plan``, ``code`` (what is a rule's own),
``kernel`` (what is the same for all) and ``matcher`` are the compiled engine. docs/rules.md says what
the clauses mean.
"""

from streaming.absence.findings import lint, views_read
from streaming.absence.flink import flink_selects
from streaming.absence.matcher import AbsenceMatcher
from streaming.absence.plan import CompiledAbsence, compile_absence
from streaming.absence.text import Absence, parse

__all__ = [
    "Absence",
    "AbsenceMatcher",
    "CompiledAbsence",
    "compile_absence",
    "flink_selects",
    "lint",
    "parse",
    "views_read",
]
