"""An automaton in, its picture (SVG) out. Pure.

A circle is a state of a partial match, an arrow is a row that a variable takes. A variable that may take
several rows is a loop, solid where it is greedy, dashed where it is reluctant; a dotted arrow takes no row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import cos, radians, sin

from streaming.authoring.automaton import Arrow, Automaton

CONDITION_CHARS = 40  # of a line of a condition
CONDITION_LINES_MAX = 8  # more are cut off in the picture; the rule file has them

_RADIUS = 17
_MARGIN = 36
_EDGE_MIN = 120
_LOOP_HEIGHT = 58
_LINE = 15  # of text
# Widths of letters in px, on the wide side: a font that is not there is replaced by another.
_CHAR, _MONO_CHAR, _NAME_CHAR, _TITLE_CHAR = 6.2, 6.35, 8.4, 10.5
_INK, _MUTED, _RULE = "#1f2933", "#64748b", "#e2e8f0"
_TAKE, _GREEDY, _RELUCTANT, _MATCH = "#1d4ed8", "#0f766e", "#b45309", "#15803d"
_SANS = "Inter, system-ui, Helvetica, Arial, sans-serif"
_MONO = "ui-monospace, DejaVu Sans Mono, Menlo, monospace"


@dataclass(slots=True)
class _Label:
    """Text at an arrow: the variable, how many rows, the condition."""

    head: str
    note: str
    lines: list[str]

    @property
    def width(self) -> float:
        words = (len(self.head) * _NAME_CHAR, len(self.note) * _CHAR)
        return max(*words, *(len(line) * _MONO_CHAR for line in self.lines), 0)

    @property
    def height(self) -> float:
        return _LINE * (bool(self.head) + bool(self.note) + len(self.lines))


def svg(automaton: Automaton, title: str, subtitle: str = "", caption: Iterable[str] = ()) -> str:
    """The picture. title, subtitle: above it; caption: lines below it."""
    labels = {id(arrow): _label(arrow) for arrow in automaton.arrows}
    captions = list(caption)
    xs = _positions(automaton, labels)
    y = _MARGIN + 30 + _height_above(automaton, labels) + _RADIUS
    foot = y + _height_below(automaton, labels)
    words = [len(title) * _TITLE_CHAR, *(len(line) * _CHAR for line in (subtitle, *captions))]
    loops = [labels[id(one)].width / 2 for one in automaton.arrows if one.target == automaton.states - 1]
    width = max(xs[-1] + max(_RADIUS + 10, *loops), _MARGIN + max(words)) + _MARGIN
    height = foot + _LINE * len(captions) + 28
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{_SANS}" font-size="12">',
        f"<title>{escape(title)}</title>",
        _DEFINITIONS,
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(_MARGIN, _MARGIN, title, size=18, weight=600),
        _text(_MARGIN, _MARGIN + 20, subtitle, colour=_MUTED),
    ]
    for arrow in automaton.arrows:
        draw = {"take": _take, "loop": _loop, "skip": _skip}[arrow.kind]
        parts.extend(draw(arrow, labels[id(arrow)], xs, y, _bend(arrow, automaton, labels)))
    for number, x in enumerate(xs):
        parts.extend(_match(x, y) if number == automaton.states - 1 else _state(number, x, y))
    parts.append(f'<path d="M{_MARGIN},{foot:.1f} H{width - _MARGIN:.1f}" stroke="{_RULE}"/>')
    parts.extend(_text(_MARGIN, foot + 20 + _LINE * n, line, size=11.5) for n, line in enumerate(captions))
    return "\n".join([*parts, "</svg>", ""])


def _height_above(automaton: Automaton, labels: Mapping[int, _Label]) -> float:
    """From the row of states up: loops and their labels."""
    heights = [labels[id(one)].height + _LOOP_HEIGHT for one in automaton.arrows if one.kind == "loop"]
    return max(heights, default=_LINE)


def _height_below(automaton: Automaton, labels: Mapping[int, _Label]) -> float:
    """From the row of states down: conditions, and arrows that go around a row."""
    takes = [labels[id(one)].height + 24 for one in automaton.arrows if one.kind == "take"]
    bends = [_bend(one, automaton, labels) + 28 for one in automaton.arrows]
    return max(54, *takes, *bends)


def _bend(arrow: Arrow, automaton: Automaton, labels: Mapping[int, _Label]) -> float:
    """How far down an arrow without a row goes to get around the label of one with a row; 0: straight."""
    around = [
        labels[id(other)].height
        for other in automaton.arrows
        if other.kind == "take" and (other.source, other.target) == (arrow.source, arrow.target)
    ]
    return around[0] + 34 if around and arrow.kind == "skip" else 0.0


def _label(arrow: Arrow) -> _Label:
    lines = [
        line
        for part in arrow.condition
        for line in textwrap.wrap(part, CONDITION_CHARS, subsequent_indent="  ", break_long_words=False)
    ]
    if len(lines) > CONDITION_LINES_MAX:
        lines = [*lines[: CONDITION_LINES_MAX - 1], "..."]
    return _Label(arrow.variable, arrow.note if arrow.kind != "skip" else "no row", lines)


def _positions(automaton: Automaton, labels: Mapping[int, _Label]) -> list[float]:
    """x of each state: an arrow has room for its label, and loops do not overlap."""
    room = [0.0] * automaton.states  # of the loop at a state, or of nothing
    gaps = [float(_EDGE_MIN)] * (automaton.states - 1)
    for arrow in automaton.arrows:
        width = labels[id(arrow)].width
        if arrow.kind == "loop":
            room[arrow.source] = max(room[arrow.source], width)
        else:
            gaps[arrow.source] = max(gaps[arrow.source], width + 2 * _RADIUS + 28)
    first = _MARGIN + max(_RADIUS + 34, room[0] / 2)
    xs = [first]
    for state, gap in enumerate(gaps):
        xs.append(xs[-1] + max(gap, room[state] / 2 + room[state + 1] / 2 + 24))
    return xs


def _take(arrow: Arrow, label: _Label, xs: Sequence[float], y: float, bend: float) -> Iterator[str]:
    begin, end = xs[arrow.source] + _RADIUS + 2, xs[arrow.target] - _RADIUS - 3
    yield _path("take", f"M{begin:.1f},{y:.1f} H{end:.1f}")
    yield _text((begin + end) / 2, y - 9, label.head, colour=_TAKE, size=13, weight=600, anchor="middle")
    yield from _lines(label, (begin + end) / 2, y + 18)


def _loop(arrow: Arrow, label: _Label, xs: Sequence[float], y: float, bend: float) -> Iterator[str]:
    x, top = xs[arrow.source], y - _RADIUS
    across, down = _RADIUS * sin(radians(35)), y - _RADIUS * cos(radians(35)) - 2
    kind, colour = ("reluctant", _RELUCTANT) if arrow.reluctant else ("greedy", _GREEDY)
    begin, end = f"M{x - across:.1f},{down:.1f}", f"{x + across + 1:.1f},{down - 2:.1f}"
    yield _path(kind, f"{begin} C{x - 40:.1f},{top - 46:.1f} {x + 40:.1f},{top - 46:.1f} {end}")
    above = top - _LOOP_HEIGHT - label.height + 2 * _LINE
    yield _text(x, above, label.head, colour=colour, size=13, weight=600, anchor="middle")
    yield from _lines(label, x, above + _LINE)


def _skip(arrow: Arrow, label: _Label, xs: Sequence[float], y: float, bend: float) -> Iterator[str]:
    begin, end = xs[arrow.source], xs[arrow.target]
    middle = (begin + end) / 2
    if not bend:
        yield _path("skip", f"M{begin + _RADIUS + 2:.1f},{y:.1f} H{end - _RADIUS - 3:.1f}")
        yield _text(middle, y - 8, label.note, colour=_MUTED, size=11, anchor="middle")
        return
    depth = y + _RADIUS + (bend - _RADIUS) * 4 / 3  # a cubic curve goes 3/4 of the way to its handles
    first, last = f"M{begin + 6:.1f},{y + _RADIUS:.1f}", f"{end - 7:.1f},{y + _RADIUS + 2:.1f}"
    yield _path("skip", f"{first} C{begin + 20:.1f},{depth:.1f} {end - 20:.1f},{depth:.1f} {last}")
    yield _text(middle, y + bend + 13, label.note, colour=_MUTED, size=11, anchor="middle")


def _state(number: int, x: float, y: float) -> Iterator[str]:
    if number == 0:
        yield _path("start", f"M{x - _RADIUS - 30:.1f},{y:.1f} H{x - _RADIUS - 3:.1f}")
    yield _circle(x, y, _RADIUS, "#f8fafc", _INK)
    yield _text(x, y + 4, str(number), anchor="middle", colour=_MUTED, size=11)


def _match(x: float, y: float) -> Iterator[str]:
    yield _circle(x, y, _RADIUS, "#f0fdf4", _MATCH)
    yield _circle(x, y, _RADIUS - 4, "none", _MATCH)
    yield _text(x, y + _RADIUS + 18, "match", anchor="middle", colour=_MATCH, weight=600)


def _path(kind: str, d: str) -> str:
    return f'<path d="{d}" class="{kind}" marker-end="url(#{kind})"/>'


def _circle(x: float, y: float, radius: float, fill: str, stroke: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
    )


def _lines(label: _Label, x: float, y: float) -> Iterator[str]:
    if label.note:
        yield _text(x, y, label.note, colour=_MUTED, size=11, anchor="middle")
        y += _LINE
    left = x - max(map(len, label.lines), default=0) * _MONO_CHAR / 2  # a block, its lines flush left
    for number, line in enumerate(label.lines):
        yield _text(left, y + _LINE * number, line, size=10.5, mono=True)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    colour: str = _INK,
    size: float = 12,
    weight: int = 400,
    anchor: str = "start",
    mono: bool = False,
) -> str:
    family = f' font-family="{_MONO}"' if mono else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}" xml:space="preserve"{family}>{escape(text)}</text>'
    )


def _marker(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        f'orient="auto-start-reverse"><path d="M0,1 L10,5 L0,9 z" fill="{colour}"/></marker>'
    )


_STROKES = {
    "take": (_TAKE, ""),
    "greedy": (_GREEDY, ""),
    "reluctant": (_RELUCTANT, "5 4"),
    "skip": (_MUTED, "1.5 4"),
    "start": (_INK, ""),
}
_DEFINITIONS = (
    "<defs>"
    + "".join(_marker(name, colour) for name, (colour, _) in _STROKES.items())
    + "</defs><style>"
    + "".join(
        f".{name}{{fill:none;stroke:{colour};stroke-width:1.6;stroke-dasharray:{dash or 'none'}}}"
        for name, (colour, dash) in _STROKES.items()
    )
    + "</style>"
)
