"""Typed trees in, Python source for Numba out. Pure text.

A value is two expressions: what it is, and when it is NULL. A condition is two as well, when it is true
and when it is false, so that three-valued logic costs nothing where nothing can be NULL and Python's own
``and`` and ``or`` stop early as SQL's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from streaming.compiled.tree import Aggregate, Call, Column, Kind, Literal, Navigation, Node, Parameter


class Value(NamedTuple):
    """source: right where ``null`` is false. null: "" where it never is, "True" where it always is."""

    source: str
    null: str = ""


class Truth(NamedTuple):
    """When a condition is true, and when it is false; NULL is neither. "True" and "False" are constants."""

    true: str
    false: str


Leaf = Callable[[Column | Parameter | Navigation | Aggregate], Value]

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_INFIX = {"add": "+", "sub": "-", "mul": "*"}
_MATHS = {
    "sqrt": "java_sqrt",
    "exp": "math.exp",
    "ln": "java_log",
    "log2": "java_log2",
    "log10": "java_log10",
    "sin": "math.sin",
    "cos": "math.cos",
    "tan": "math.tan",
    "floor": "np.floor",
    "ceil": "np.ceil",
}
ALWAYS = "True"


def value(node: Node, leaf: Leaf, texts: Mapping[str, int]) -> Value:
    """The source of a number, text code or time. texts: text constants to their codes."""
    if isinstance(node, Literal):
        return _literal(node, texts)
    if not isinstance(node, Call):
        return leaf(node)
    if node.kind is Kind.BOOLEAN:
        truth_of = truth(node, leaf, texts)
        null = _nor(truth_of.true, truth_of.false)
        return Value(truth_of.true, null)
    if node.name == "case":
        return _case(node, leaf, texts)
    arguments = [value(one, leaf, texts) for one in node.arguments]
    if node.name == "coalesce":
        return _coalesce(node, arguments)
    null = _or(*(one.null for one in arguments))
    if null == ALWAYS:
        return Value("0", ALWAYS)
    return Value(_apply(node, [one.source for one in arguments]), null)


def _apply(node: Call, sources: list[str]) -> str:
    kinds = [one.kind for one in node.arguments]
    if node.kind is Kind.DOUBLE:
        sources = [
            source
            if kind in (Kind.DOUBLE, Kind.DECIMAL) or (node.name == "round" and position)
            else f"float({source})"
            for position, (source, kind) in enumerate(zip(sources, kinds, strict=True))
        ]
    if node.name in _INFIX:
        return f"({sources[0]} {_INFIX[node.name]} {sources[1]})"
    if node.name == "div":
        return (
            f"({sources[0]} / {sources[1]})"
            if node.kind is Kind.DOUBLE
            else f"whole_div({', '.join(sources)})"
        )
    if node.name == "mod":
        return f"whole_mod({', '.join(sources)})"
    if node.name == "neg":
        return f"(-{sources[0]})"
    if node.name == "double":
        return sources[0]
    if node.name in _MATHS:
        return f"{_MATHS[node.name]}({sources[0]})"
    if node.name in ("greatest", "least"):
        # Java's order of doubles: NaN is the largest
        test = "{1} > {0} or {1} != {1}" if node.name == "greatest" else "{1} < {0} or {0} != {0}"
        found = sources[0]
        for source in sources[1:]:
            found = f"({source} if {test.format(found, source)} else {found})"
        return found
    return {
        "abs": "abs({})",
        "sign": "sign_of({})",
        "whole": "to_whole({})",
        "round": "round_half_up({}, {})",
        "power": "java_pow({}, {})",
    }[node.name].format(*sources)


def _literal(node: Literal, texts: Mapping[str, int]) -> Value:
    if node.value is None:
        return Value("0", ALWAYS)
    if node.kind is Kind.STRING:
        return Value(str(texts[str(node.value)]))
    if node.kind in (Kind.DOUBLE, Kind.DECIMAL):
        return Value(f"({float(node.value)!r})")
    return Value(f"({node.value!r})")


def _case(node: Call, leaf: Leaf, texts: Mapping[str, int]) -> Value:
    *pairs, default = node.arguments
    found = _converted(value(default, leaf, texts), default.kind, node.kind)
    for condition, chosen in reversed(list(zip(pairs[::2], pairs[1::2], strict=True))):
        test = truth(condition, leaf, texts).true
        this = _converted(value(chosen, leaf, texts), chosen.kind, node.kind)
        if test == "True":
            found = this
        elif test != "False":
            null = (
                ""
                if not this.null and not found.null
                else (f"({this.null or 'False'} if {test} else {found.null or 'False'})")
            )
            if this.null == ALWAYS and found.null == ALWAYS:
                null = ALWAYS
            found = Value(f"({this.source} if {test} else {found.source})", null)
    return found


def _converted(one: Value, kind: Kind, wanted: Kind) -> Value:
    if (wanted is Kind.DOUBLE and kind in (Kind.BIGINT, Kind.NULL)) or (
        wanted is Kind.DECIMAL and kind is not wanted
    ):
        return Value(f"float({one.source})", one.null)
    return one


def _coalesce(node: Call, arguments: list[Value]) -> Value:
    found = Value("0", ALWAYS)
    if node.kind in (Kind.DOUBLE, Kind.DECIMAL):
        found = Value("0.0", ALWAYS)
    for one, given in reversed(list(zip(arguments, node.arguments, strict=True))):
        this = _converted(one, given.kind, node.kind)
        if not this.null:
            found = this
        elif this.null != ALWAYS:
            found = Value(f"({found.source} if {this.null} else {this.source})", _and(this.null, found.null))
    return found


def truth(node: Node, leaf: Leaf, texts: Mapping[str, int]) -> Truth:
    """The source of a condition."""
    if isinstance(node, Literal):
        return Truth(str(node.value is True), str(node.value is False))
    if not isinstance(node, Call):
        raise TypeError(f"{node} is no condition")
    name, arguments = node.name, node.arguments
    if name in ("and", "or"):
        left, right = (truth(one, leaf, texts) for one in arguments)
        if name == "and":
            return Truth(_both(left.true, right.true), _either(left.false, right.false))
        return Truth(_either(left.true, right.true), _both(left.false, right.false))
    if name == "not":
        inner = truth(arguments[0], leaf, texts)
        return Truth(inner.false, inner.true)
    if name in ("istrue", "isfalse"):
        inner = truth(arguments[0], leaf, texts)
        held = inner.true if name == "istrue" else inner.false
        return Truth(held, _negated(held))
    if name == "isnull":
        return _is_null(arguments[0], leaf, texts)
    if name == "case":
        return _choice(arguments, leaf, texts)
    left_value, right_value = (value(one, leaf, texts) for one in arguments)
    null = _or(left_value.null, right_value.null)
    if null == ALWAYS:
        return Truth("False", "False")
    test = f"({left_value.source} {_COMPARE[name]} {right_value.source})"
    known = f"not {null}" if null else "True"
    return Truth(_both(known, test), _both(known, _negated(test)))


def _is_null(node: Node, leaf: Leaf, texts: Mapping[str, int]) -> Truth:
    if node.kind is Kind.BOOLEAN and isinstance(node, Call):
        inner = truth(node, leaf, texts)
        null = _nor(inner.true, inner.false)
    else:
        null = value(node, leaf, texts).null
    if null in ("", ALWAYS):
        return Truth(str(bool(null)), str(not null))
    return Truth(null, f"(not {null})")


def _choice(arguments: tuple[Node, ...], leaf: Leaf, texts: Mapping[str, int]) -> Truth:
    """A CASE whose values are conditions."""
    *pairs, default = arguments
    found = truth(default, leaf, texts)
    for condition, chosen in reversed(list(zip(pairs[::2], pairs[1::2], strict=True))):
        test, this = truth(condition, leaf, texts).true, truth(chosen, leaf, texts)
        found = Truth(
            f"({this.true} if {test} else {found.true})", f"({this.false} if {test} else {found.false})"
        )
    return found


def _both(left: str, right: str) -> str:
    if "False" in (left, right):
        return "False"
    if left == "True":
        return right
    return left if right == "True" else f"({left} and {right})"


def _either(left: str, right: str) -> str:
    if "True" in (left, right):
        return "True"
    if left == "False":
        return right
    return left if right == "False" else f"({left} or {right})"


def _negated(source: str) -> str:
    return {"True": "False", "False": "True"}.get(source, f"(not {source})")


def _nor(left: str, right: str) -> str:
    known = _either(left, right)
    return {"True": "", "False": ALWAYS}.get(known, f"(not {known})")


def _or(*nulls: str) -> str:
    """NULL if one is."""
    if ALWAYS in nulls:
        return ALWAYS
    given = list(dict.fromkeys(null for null in nulls if null))
    return f"({' or '.join(given)})" if len(given) > 1 else "".join(given)


def _and(*nulls: str) -> str:
    """NULL if all are."""
    if "" in nulls:
        return ""
    given = [null for null in nulls if null != ALWAYS]
    return f"({' and '.join(given)})" if given else ALWAYS
