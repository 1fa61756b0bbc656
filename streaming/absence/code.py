"""A plan in, source of what is its own out: rows of each relation, outputs of a silence. Pure text.

What is the same for every absence rule is in ``kernel``; ``streaming.compiled.modules`` compiles this.
"""

from __future__ import annotations

from collections.abc import Mapping

from streaming.absence.plan import Plan, Role
from streaming.compiled import emit
from streaming.compiled.columns import Texts
from streaming.compiled.emit import ALWAYS, Value
from streaming.compiled.tree import Aggregate, Column, Kind, Navigation, Node, Parameter, walk
from streaming.rules import OUTPUT_COLUMNS

#: Columns of an output row. The flags: bit 0 passes the outer WHERE, the next six are NULL outputs.
OUT_FLAGS, OUT_SYMBOL, OUT_SIDE, OUT_FIRST, OUT_LAST = range(5)
OUT_STRENGTH, OUT_PRICE = range(2)
OUT_INTS, OUT_FLOATS = 5, 2
_PLACES = {
    "symbol": f"out_i[i, {OUT_SYMBOL}]",
    "side": f"out_i[i, {OUT_SIDE}]",
    "strength": f"out_f[i, {OUT_STRENGTH}]",
    "ref_price": f"out_f[i, {OUT_PRICE}]",
    "first_seq": f"out_i[i, {OUT_FIRST}]",
    "last_seq": f"out_i[i, {OUT_LAST}]",
}
_HEAD = """\
import math
import numpy as np
from numba import njit
from streaming.compiled.runtime import (
    java_log, java_log10, java_log2, java_pow, java_sqrt, round_half_up, sign_of, whole_div, whole_mod,
)
"""
_NJIT = '@njit(cache=True, error_model="numpy")'


class _Codes(dict[str, int]):
    """Codes of text constants, given as they are met."""

    def __init__(self, texts: Texts) -> None:
        super().__init__()
        self._texts = texts

    def __missing__(self, text: str) -> int:
        return self._texts.code(text)


def parameter_places(plan: Plan) -> dict[str, str]:
    """Source of each parameter: doubles in PF; whole numbers, ms and text codes in PI."""
    found: dict[str, str] = {}
    counts = {"PF": 0, "PI": 0}
    for name, kind in sorted(plan.parameters.items()):
        array = "PF" if kind is Kind.DOUBLE else "PI"
        found[name] = f"{array}[{counts[array]}]"
        counts[array] += 1
    return found


def inputs(role: Role, number: int) -> list[Column]:
    """Columns of the view that a branch of a role needs, in the order of its function's arguments."""
    branch = role.branches[number]
    trees = [*branch.columns.values(), *([branch.where] if branch.where is not None else [])]
    found = {node.name: node for tree in trees for node in walk(tree) if isinstance(node, Column)}
    return [found[name] for name in sorted(found)]


def source(plan: Plan, texts: Texts) -> str:
    """The module: ``rows_ROLE_BRANCH`` for each branch, and ``outputs``."""
    writer = _Writer(plan, texts)
    parts = [
        _HEAD,
        *(writer.rows(role, number) for role in plan.roles for number in range(len(role.branches))),
    ]
    return "\n\n".join([*parts, writer.outputs()]) + "\n"


class _Writer:
    def __init__(self, plan: Plan, texts: Texts) -> None:
        self.plan = plan
        self.places = parameter_places(plan)
        self.codes = _Codes(texts)

    def rows(self, role: Role, number: int) -> str:
        """Rows of a branch: keys (m, partition columns), times, seqs, values; returns how many."""
        branch, needed = role.branches[number], inputs(role, number)

        def leaf(node: Column | Parameter | Navigation | Aggregate) -> Value:
            if isinstance(node, Column):
                return Value(f"c_{node.name}[i]", f"n_{node.name}[i]" if node.nullable else "")
            return self._parameter(node)

        body = [
            f"keys[m, {place}] = {self._value(branch.columns[f'key_{place}'], leaf).source}"
            for place in range(len(self.plan.partition))
        ]
        body += [f"times[m] = {self._value(branch.columns['event_time'], leaf).source}"]
        body += [f"seqs[m] = {self._value(branch.columns['seq'], leaf).source}"]
        for place, column in enumerate(role.values):
            found = self._value(branch.columns[f"v_{place}"], leaf)
            array = "floats" if is_float(column) else "ints"
            wanted = f"float({found.source})" if is_float(column) else found.source
            body.append(f"nulls[m, {place}] = {found.null or 'False'}")
            if found.null != ALWAYS:
                store = f"{array}[m, {place}] = {wanted}"
                body.append(f"if not {found.null}:\n            {store}" if found.null else store)
        test = "True" if branch.where is None else emit.truth(branch.where, leaf, self.codes).true
        arguments = ["count, PF, PI, keys, times, seqs, ints, floats, nulls"]
        arguments += [f"c_{one.name}" for one in needed] + [f"n_{one.name}" for one in needed if one.nullable]
        lines = "\n".join(f"        {line}" for line in body)
        return (
            f"{_NJIT}\ndef rows_{role.number}_{number}({', '.join(arguments)}):\n    m = 0\n"
            f"    for i in range(count):\n        if not ({test}):\n            continue\n{lines}\n"
            "        m += 1\n    return m"
        )

    def outputs(self) -> str:
        """Outputs of silences that fired, row by row, from what ``kernel`` wrote of them."""

        def leaf(node: Column | Parameter | Navigation | Aggregate) -> Value:
            return self._remembered(node) if isinstance(node, Column) else self._parameter(node)

        body = ["flags = 0"]
        where = self.plan.where
        test = "True" if where is None else emit.truth(where, leaf, self.codes).true
        body.append(f"if {test}:\n            flags = 1")
        for bit, name in enumerate(OUTPUT_COLUMNS, start=1):
            found = self._value(self.plan.outputs[name], leaf)
            flag, store = f"flags |= {1 << bit}", f"{_PLACES[name]} = {found.source}"
            if found.null == ALWAYS:
                body.append(flag)
            elif found.null:
                body.append(f"if {found.null}:\n            {flag}\n        else:\n            {store}")
            else:
                body.append(store)
        body.append(f"out_i[i, {OUT_FLAGS}] = flags")
        lines = "\n".join(f"        {line}" for line in body)
        arguments = "count, PF, PI, keys, e_ints, e_floats, e_nulls, f_ints, f_floats, f_counts, out_i, out_f"
        return f"{_NJIT}\ndef outputs({arguments}):\n    for i in range(count):\n{lines}"

    def _remembered(self, column: Column) -> Value:
        """A column of a silence: of its key, of its expected row, or a fact."""
        for place, key in enumerate(self.plan.partition):
            if key.name == column.name:
                return Value(f"keys[i, {place}]")
        kind = "floats" if is_float(column) else "ints"
        prefix, _, number = column.name.partition("_")
        if prefix == "e":
            null = f"e_nulls[i, {number}]" if column.nullable else ""
            return Value(f"e_{kind}[i, {number}]", null)
        function = self.plan.facts[int(number)][0]
        count = f"f_counts[i, {number}]"
        if function == "COUNT":
            return Value(count)
        found = f"f_{kind}[i, {number}]"
        if function == "AVG":
            found = f"({found} / {count})" if is_float(column) else f"whole_div({found}, max({count}, 1))"
        return Value(found, f"({count} == 0)" if column.nullable else "")

    def _parameter(self, node: Parameter | Navigation | Aggregate) -> Value:
        assert isinstance(node, Parameter), f"{node} in an absence rule"
        return Value(self.places[node.name])

    def _value(self, node: Node, leaf: emit.Leaf) -> Value:
        codes: Mapping[str, int] = self.codes
        return emit.value(node, leaf, codes)


def is_float(column: Column) -> bool:
    """Whether it travels in the arrays of doubles."""
    return column.kind in (Kind.DOUBLE, Kind.DECIMAL)
