"""The compiled matcher: a rule's own text as a Numba kernel over columns, equal to Flink signal by signal.

In the order of the way: ``text`` cuts a rule into its parts, ``expressions`` reads SQL expressions into
typed trees, ``relation`` follows the WITH queries down to the views, ``plan`` decides what a partial
match must remember, ``kernel`` writes the source of the matcher, ``modules`` compiles and keeps it on
disk, ``matcher`` runs it over batches and holds its state. In a Flink job ``program`` puts codecs around it,
and ``records`` writes what it found as the topic ``signals`` has it.
"""

from streaming.compiled.matcher import Matcher
from streaming.compiled.plan import CompiledRule, compile_rule

__all__ = ["CompiledRule", "Matcher", "compile_rule"]
