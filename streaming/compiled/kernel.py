"""A plan in, the source of its Numba kernel out. Pure text; ``modules`` compiles it.

The kernel takes the rows of a batch by partition, and the partial matches that are open, and gives the
matches that ended and the partial matches that are open now. It is Flink's NFA (flink-cep 2.3, ``NFA``,
``NFAState``, ``AfterMatchSkipStrategy``) for patterns without gaps: partial matches are in the order of
their first rows; an ended match waits while an earlier one is open; what overlaps it is pruned.
"""

from __future__ import annotations

from streaming.compiled import emit
from streaming.compiled.aggregates import accumulate, finish
from streaming.compiled.columns import EVENT_TIME, Texts
from streaming.compiled.emit import ALWAYS, Value
from streaming.compiled.loop import ANEW, ARRAYS, HEAD, IN_PLACE, RUN
from streaming.compiled.plan import Plan
from streaming.compiled.slots import COUNT, ELEMENT, START, START_TIME, Slots, allocate
from streaming.compiled.tree import Aggregate, Column, Kind, Literal, Navigation, Node, Parameter, walk
from streaming.sqltext import Element

#: Columns of an ended match: int64 first row, first row that may start the next match, flags, symbol,
#: side, first_seq, last_seq, time in ms; float64 strength, ref_price.
RESULT_INTS, RESULT_FLOATS = 8, 2
RESULT_FLAGS, RESULT_SYMBOL, RESULT_SIDE, RESULT_FIRST, RESULT_LAST, RESULT_TIME = range(2, 8)
#: Flags of a result: bit 0 passes the outer WHERE, bits 1 to 6 are NULL outputs in this order.
OUTPUTS = ("symbol", "side", "strength", "ref_price", "first_seq", "last_seq")
_INT_OUTPUTS = {
    "symbol": RESULT_SYMBOL,
    "side": RESULT_SIDE,
    "first_seq": RESULT_FIRST,
    "last_seq": RESULT_LAST,
}
_FLOAT_OUTPUTS = {"strength": 0, "ref_price": 1}


class Writer:
    """Writes the kernel of one plan."""

    def __init__(self, plan: Plan, texts: Texts) -> None:
        self.plan = plan
        self.texts = texts
        self.slots: Slots = allocate(plan)
        self.parameters = parameter_places(plan)
        columns = plan.row_columns.values()
        self.columns = ", ".join(
            [f"c_{one.name}" for one in columns] + [f"n_{one.name}" for one in columns if one.nullable]
        )
        self.row = f"i, PF, PI, {self.columns}"
        self.in_place = not _forks(plan.elements)
        self._tests()  # shows which slots are read at all
        self.slots.keep_read()

    def source(self) -> str:
        """The whole module."""
        parts = [HEAD, *self._tests()]
        parts += [self._take(k) for k in range(len(self.plan.elements)) if not self._ends(k)]
        parts.append(self._run())
        parts += [self._prelude(number) for number in range(len(self.plan.branches))]
        return "\n\n".join(parts) + "\n"

    def _tests(self) -> list[str]:
        """Everything that reads what a partial match remembers."""
        parts = [self._condition(k, condition) for k, condition in enumerate(self.plan.conditions)]
        parts += [self._blank_condition(k) for k in range(_first_elements(self.plan.elements))]
        return [*parts, self._outcome()]

    def _ends(self, k: int) -> bool:
        """Whether the row that variable k takes always ends the match."""
        return k == len(self.plan.elements) - 1 and self.plan.elements[k].count_max == 1

    # -- expressions

    def _text_codes(self) -> _Codes:
        return _Codes(self.texts)

    def _column(self, column: Column) -> Value:
        return Value(f"c_{column.name}[i]", f"n_{column.name}[i]" if column.nullable else "")

    def _parameter(self, node: Parameter) -> Value:
        return Value(self.parameters[node.name])

    def _leaf(self, own: str, blank: bool = False) -> emit.Leaf:
        """own: whose DEFINE this is; its row ``i`` counts as taken. blank: no other row is."""

        def leaf(node: Column | Parameter | Navigation | Aggregate) -> Value:
            if isinstance(node, Parameter):
                return self._parameter(node)
            if isinstance(node, Column):
                return self._column(node)
            if isinstance(node, Aggregate):
                return self._aggregate(node, own == node.variable, blank)
            return self._navigation(node, own, blank)

        return leaf

    def _navigation(self, node: Navigation, own: str, blank: bool) -> Value:
        current = self._column(node.column)
        mine = own == node.variable
        if mine and node.last and node.offset == 0:
            return current
        if blank:
            here = mine and not node.last and node.offset == 0
            return current if here else Value(_zero(node.kind), ALWAYS)
        if mine and node.last:
            count = self.slots.place("count", node.variable)
            stored = self._stored("last", node, node.offset - 1)
            return Value(stored.source, _any(f"({count} < {node.offset})", stored.null))
        stored = self._stored("last" if node.last else "first", node, node.offset)
        if not mine and self._always(node, own):
            return stored
        count = self.slots.place("count", node.variable)
        if mine:  # FIRST in the variable's own DEFINE: the row at hand may be the one
            chosen = f"({stored.source} if {count} > {node.offset} else {current.source})"
            null = ""
            if node.column.nullable:
                null = f"({stored.null} if {count} > {node.offset} else {current.null})"
            return Value(chosen, _any(f"({count} < {node.offset})" if node.offset else "", null))
        return Value(stored.source, _any(f"({count} <= {node.offset})", stored.null))

    def _always(self, node: Navigation, own: str) -> bool:
        """Whether there is such a row wherever it is asked for: the variable must have had it by then."""
        place = self.plan.index(node.variable)
        before = not own or place < self.plan.index(own)
        return before and self.plan.elements[place].count_min > node.offset

    def _stored(self, mode: str, node: Navigation, offset: int) -> Value:
        key = (mode, node.variable, node.column.name, offset)
        null = f"({self.slots.place(*key, 'null')} != 0)" if node.column.nullable else ""
        return Value(self.slots.place(*key), null)

    def _aggregate(self, node: Aggregate, own: bool, blank: bool) -> Value:
        argument = emit.value(node.argument, self._leaf(""), self._text_codes())
        here = f"(0 if {argument.null} else 1)" if argument.null else "1"
        stored = dict.fromkeys(("cnt", "sum", "min", "max", "squares"), "0")
        if not blank:
            parts = self.slots.aggregates[node.variable, node.argument]
            stored.update(
                {part: self.slots.place("aggregate", node.variable, node.argument, part) for part in parts}
            )
        if not own:
            if blank:
                return Value("0") if node.function == "count" else Value(_zero(node.kind), ALWAYS)
            return finish(node, stored["cnt"], stored)
        count = here if blank else f"({stored['cnt']} + {here})"
        fresh = {part: accumulate(part, stored, argument, blank) for part in stored}
        return finish(node, count, fresh)

    # -- functions

    def _condition(self, k: int, condition: Node) -> str:
        own = self.plan.elements[k].variable
        test = emit.truth(condition, self._leaf(own), self._text_codes()).true
        return _function(f"condition_{k}", f"I, F, p, {self.row}", [f"return 1 if {test} else 0"])

    def _blank_condition(self, k: int) -> str:
        own = self.plan.elements[k].variable
        test = emit.truth(self.plan.conditions[k], self._leaf(own, blank=True), self._text_codes()).true
        return _function(f"begins_{k}", self.row, [f"return 1 if {test} else 0"])

    def _take(self, k: int) -> str:
        """The record of ``p`` with row ``i`` taken as variable k, written to ``m``."""
        variable = self.plan.elements[k].variable
        values: list[str] = []
        stores: list[str] = []
        for key, (array, column) in self.slots.places.items():
            if key == ("skip",) and self.slots.skip_to == variable:
                source = "ordinal"
                if self.plan.skip.mode == "first":
                    source += f" if {self.slots.place('count', variable)} == 0 else {array}[p, {column}]"
            elif key[1:2] == (variable,):
                source = self._update(key, f"{array}[p, {column}]")
            else:
                continue
            values.append(f"v_{len(values)} = {source}")  # all are read before any is written: p may be m
            stores.append(f"{array}[m, {column}] = v_{len(stores)}")
        lines = [
            *values,
            "if m != p:",
            f"    for s in range({self.slots.ints}):",
            "        I[m, s] = I[p, s]",
        ]
        if self.slots.floats:
            lines += [f"    for s in range({self.slots.floats}):", "        F[m, s] = F[p, s]"]
        return _function(f"take_{k}", f"I, F, p, m, ordinal, {self.row}", [*lines, *stores])

    def _update(self, key: tuple[object, ...], before: str) -> str:
        """What a slot of the variable that takes row ``i`` holds then, and held ``before``."""
        if key[0] == "count":
            return f"{before} + 1"
        if key[0] == "aggregate":
            _, _, argument, part = key
            assert not isinstance(argument, str | int)
            read = emit.value(argument, self._leaf(""), self._text_codes())  # type: ignore[arg-type]
            stored = {
                name: self.slots.places["aggregate", key[1], argument, name]
                for name in self.slots.aggregates[key[1], argument]  # type: ignore[index]
                if ("aggregate", key[1], argument, name) in self.slots.places
            }
            sources = {name: f"{array}[p, {column}]" for name, (array, column) in stored.items()}
            return accumulate(str(part), sources, read, False)
        mode, variable, name, offset, *null = key
        column = self.slots.columns[str(name)]
        current = self._column(column)
        source = f"(1 if {current.null} else 0)" if null else current.source
        if mode == "first":
            return f"{source} if {self.slots.place('count', variable)} == {offset} else {before}"
        if offset == 0:
            return source
        assert isinstance(offset, int)
        return self.slots.place(mode, variable, name, offset - 1, *null)

    def _outcome(self) -> str:
        """The result of a match that row ``i`` ends, as the last variable, written to place ``q``."""
        leaf, codes = self._leaf(self.plan.elements[-1].variable), self._text_codes()
        lines = ["flags = 0"]
        where = emit.truth(self.plan.where, leaf, codes).true if self.plan.where is not None else "True"
        lines.append(f"if {where}:\n        flags = 1")
        for bit, name in enumerate(OUTPUTS, start=1):
            found = emit.value(self.plan.outputs[name], leaf, codes)
            if name in _FLOAT_OUTPUTS:
                store = f"queue_f[q, {_FLOAT_OUTPUTS[name]}] = {found.source}"
            else:
                store = f"queue_i[q, {_INT_OUTPUTS[name]}] = {found.source}"
            if found.null == ALWAYS:
                lines.append(f"flags |= {1 << bit}")
            elif found.null:
                lines.append(f"if {found.null}:\n        flags |= {1 << bit}\n    else:\n        {store}")
            else:
                lines.append(store)
        lines += [
            "queue_i[q, 0] = start",
            f"queue_i[q, 1] = {self._next_start()}",
            "queue_i[q, 2] = flags",
            "queue_i[q, 7] = ts",
        ]
        return _function("outcome", f"I, F, p, queue_i, queue_f, q, start, ordinal, ts, {self.row}", lines)

    def _next_start(self) -> str:
        """Number of the first row with which the next match may begin."""
        skip = self.plan.skip
        if skip.mode in ("past", "next"):
            return "ordinal + 1" if skip.mode == "past" else "start + 1"
        if skip.variable != self.plan.elements[-1].variable:
            return self.slots.place("skip")
        if skip.mode == "last":
            return "ordinal"
        count = self.slots.place("count", skip.variable)
        return f"({self.slots.place('skip')} if {count} > 0 else ordinal)"

    def _prelude(self, number: int) -> str:
        """Computed columns and WHERE of one branch: its rows in, the pattern's rows out."""
        branch = self.plan.branches[number]
        needed = prelude_inputs(self.plan, number)
        codes = self._text_codes()
        leaf = self._leaf("")
        args = [f"c_{one.name}" for one in needed] + [f"n_{one.name}" for one in needed if one.nullable]
        outs: list[str] = []
        body: list[str] = []
        for name, column in prelude_outputs(self.plan).items():
            tree = branch.columns[name]
            found = emit.value(tree, leaf, codes)
            source = found.source
            if column.kind is Kind.DOUBLE and tree.kind is not Kind.DOUBLE:
                source = f"float({source})"
            outs.append(f"o_{name}")
            if column.nullable:
                outs.append(f"m_{name}")
                body.append(f"m_{name}[m] = {found.null or 'False'}")
            if found.null == ALWAYS:
                continue
            store = f"o_{name}[m] = {source}"
            body.append(f"if not {found.null}:\n            {store}" if found.null else store)
        test = "True" if branch.where is None else emit.truth(branch.where, leaf, codes).true
        lines = ["m = 0", "for i in range(count):", f"    if not ({test}):", "        continue"]
        lines += [f"    {line}" for line in body] + ["    m += 1", "return m"]
        return _function(f"prelude_{number}", ", ".join(["count", "PF", "PI", *args, *outs]), lines, "outer")

    def _run(self) -> str:
        steps = "\n".join(self._step(k, blank=False) for k in range(len(self.plan.elements)))
        begins = _first_elements(self.plan.elements)
        start = "\n".join(self._step(k, blank=True) for k in range(begins))
        unknown = " = ".join(f"held_{k}" for k in range(len(self.plan.elements))) + " = -1"
        around = IN_PLACE if self.in_place else ANEW
        return RUN.format(
            columns=self.columns,
            unowned="\n".join(
                f"    {name} = unowned({name})" for name in f"{ARRAYS}, {self.columns}".split(", ")
            ),
            within=self._within(),
            unknown=unknown,
            before=_indent(around["before"].format(most=len(self.plan.elements) + 1), 12),
            steps=_indent(steps, 16),
            behind=_indent(around["behind"], 16),
            start=_indent(start, 12),
            after=_indent(around["after"], 12),
            rest=COUNT,
            element=ELEMENT,
        )

    def _within(self) -> str:
        bound = self.plan.within
        if bound is None:
            return "0"
        return str(bound.value) if isinstance(bound, Literal) else self.parameters[bound.name]

    def _step(self, k: int, *, blank: bool) -> str:
        """Variable k of the chain that row ``i`` may be taken along."""
        elements = self.plan.elements
        element = elements[k]
        guarded = k > 0 and is_greedy(elements[k - 1])
        lines = [f"if at == {k}:", "    free = True"]
        if guarded:
            lines += [
                "    if j == 0:",
                f"        if held_{k - 1} < 0:",
                f"            held_{k - 1} = {self._test(k - 1, blank)}",
                f"        free = held_{k - 1} == 0",
            ]
        can_leave = _may_leave(element) if k + 1 < len(elements) else ""
        both = self.in_place and can_leave and not is_greedy(element)
        # the match may end here and go on here; what ends must see the record as it was
        if both and (not blank or element.count_min == 0):
            ends = [f"        {line}" for line in self._try(k + 1, blank)]
            lines += [f"    if free and ({can_leave}):", *ends]
        lines += ["    if free:", *[f"        {line}" for line in self._try(k, blank)]]
        if can_leave and not both:
            lines += [f"    if free and ({can_leave}):", f"        at = {k + 1}", "        j = 0"]
        return "\n".join(lines)

    def _try(self, k: int, blank: bool) -> list[str]:
        """Take row ``i`` as variable k, if it may be taken."""
        lines = [f"if held_{k} < 0:", f"    held_{k} = {self._test(k, blank)}", f"if held_{k} == 1:"]
        return [*lines, *[f"    {line}" for line in self._advance(k, blank)]]

    def _test(self, k: int, blank: bool) -> str:
        if blank:
            return f"begins_{k}(i, PF, PI, {self.columns})"
        return f"condition_{k}(work_i, work_f, p, i, PF, PI, {self.columns})"

    def _advance(self, k: int, blank: bool) -> list[str]:
        """What becomes of a partial match as variable k takes one more row."""
        element = self.plan.elements[k]
        record = "blank" if blank else "p"

        def stay(place: int, taken: str) -> list[str]:
            lines = [f"take_{k}(work_i, work_f, {record}, m, ordinal, i, PF, PI, {self.columns})"]
            if blank:
                lines += [f"work_i[m, {START}] = ordinal", f"work_i[m, {START_TIME}] = ts"]
            return [*lines, f"work_i[m, {ELEMENT}] = {place}", f"work_i[m, {COUNT}] = {taken}", "m += 1"]

        if element.count_max is None:
            return stay(k, f"min(j + 1, {max(element.count_min, 1)})")
        leave = stay(k + 1, "0")
        if k == len(self.plan.elements) - 1:
            start = "ordinal" if blank else f"work_i[p, {START}]"
            leave = [
                "if qn >= queue_i.shape[0]:",
                "    return 3, 0, 0, 0",
                f"outcome(work_i, work_f, {record}, queue_i, queue_f, qn, {start}, ordinal, ts, i, PF, PI,"
                f" {self.columns})",
                "sift_up(queue_i, queue_f, qn)",
                "qn += 1",
            ]
        if element.count_max == 1:
            return leave
        return [
            f"if j + 1 == {element.count_max}:",
            *[f"    {line}" for line in leave],
            "else:",
            *[f"    {line}" for line in stay(k, "j + 1")],
        ]


class _Codes(dict[str, int]):
    """Codes of text constants, given as they are met."""

    def __init__(self, texts: Texts) -> None:
        super().__init__()
        self._texts = texts

    def __missing__(self, text: str) -> int:
        return self._texts.code(text)


def parameter_places(plan: Plan) -> dict[str, str]:
    """Source of each parameter: doubles in PF, whole numbers, times and text codes in PI."""
    found: dict[str, str] = {}
    floats = ints = 0
    for name, kind in sorted(plan.parameters.items()):
        if kind is Kind.DOUBLE:
            found[name] = f"PF[{floats}]"
            floats += 1
        else:
            found[name] = f"PI[{ints}]"
            ints += 1
    return found


def prelude_outputs(plan: Plan) -> dict[str, Column]:
    """Columns of the pattern's rows: those that it uses, and their time."""
    return {**plan.row_columns, EVENT_TIME: Column(Kind.TIME, EVENT_TIME, False)}


def prelude_inputs(plan: Plan, number: int) -> list[Column]:
    """Columns of the view that branch ``number`` needs, in the order of the prelude's arguments."""
    branch = plan.branches[number]
    trees = [branch.columns[name] for name in prelude_outputs(plan)]
    if branch.where is not None:
        trees.append(branch.where)
    found = {node.name: node for tree in trees for node in walk(tree) if isinstance(node, Column)}
    return [found[name] for name in sorted(found)]


def is_greedy(element: Element) -> bool:
    """Whether Flink calls ``greedy()``: not for ``?`` and ``{n}``, where it keeps both ways open."""
    optional = element.count_min == 0 and element.count_max == 1
    return not element.reluctant and element.variable_length and not optional


def _may_leave(element: Element) -> str:
    """The counts j at which the next variable may take a row."""
    needed = max(element.count_min, 1)
    tests = []
    if element.count_min == 0:
        tests.append("j == 0")
    if element.count_max is None or needed < element.count_max:
        tests.append(f"j >= {needed}")
    return " or ".join(tests)


def _forks(elements: list[Element]) -> bool:
    """Whether a row may make two partial matches of one: it is taken, and it is left to a variable behind."""
    last = len(elements) - 1
    return any(
        bool(_may_leave(element))
        and not is_greedy(element)
        and not (k + 1 == last and elements[last].count_max == 1)
        for k, element in enumerate(elements[:last])
    )


def _first_elements(elements: list[Element]) -> int:
    """How many variables may take the first row of a match."""
    count = 1
    while count < len(elements) and elements[count - 1].count_min == 0:
        count += 1
    return count


def _zero(kind: Kind) -> str:
    return "0.0" if kind in (Kind.DOUBLE, Kind.DECIMAL) else "0"


def _any(*nulls: str) -> str:
    given = [null for null in nulls if null]
    return f"({' or '.join(given)})" if len(given) > 1 else "".join(given)


def _function(name: str, arguments: str, lines: list[str], decorator: str = "inner") -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"@{decorator}\ndef {name}({arguments}):\n{body}"


def _indent(text: str, blanks: int) -> str:
    return "\n".join(" " * blanks + line if line else line for line in text.split("\n"))
