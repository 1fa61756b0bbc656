"""Numbers in, SVG out: the few kinds of picture that a cost report needs. Pure text, no library, no script.

Colours are CSS classes (``s0`` to ``s5``, ``ink``, ``grid``), so that the page decides them, for light and
dark. A picture has a ``title`` for each mark, which browsers show on pointing at it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LEFT, RIGHT = 760, 150, 24
ROW, GAP = 22, 10
PLOT_HEIGHT, TOP, BOTTOM = 250, 28, 34
TICKS = 5


def ticks_of(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that span [low, high]."""
    if not high > low:
        low, high = low - 1.0, high + 1.0
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= raw * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def number(value: float) -> str:
    """As an axis shows it."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def stacked_bars(rows: Mapping[str, Mapping[str, float]], parts: Sequence[str], unit: str) -> str:
    """A bar a row, its parts from zero outwards: costs to the right, gains to the left; a dot for the sum."""
    ends = [_ends([values[part] for part in parts]) for values in rows.values()]
    ticks = ticks_of(min([0.0, *(low for low, _ in ends)]), max([0.0, *(high for _, high in ends)]))
    height = TOP + len(rows) * (ROW + GAP) + BOTTOM
    x = _scale(ticks[0], ticks[-1], LEFT, WIDTH - RIGHT)
    lines = _vertical_grid(ticks, x, height - BOTTOM, unit)
    for place, (name, values) in enumerate(rows.items()):
        y = TOP + place * (ROW + GAP)
        lines.append(f'<text class="label" x="{LEFT - 8}" y="{y + ROW * 0.7:.1f}">{escape(name)}</text>')
        below = above = 0.0
        for index, part in enumerate(parts):
            value = values[part]
            start = above if value >= 0 else below
            left, right = sorted((x(start), x(start + value)))
            if right - left > 0.05:
                lines.append(
                    f'<rect class="s{index}" x="{left:.1f}" y="{y}" width="{right - left:.1f}" '
                    f'height="{ROW}">'
                    f"<title>{escape(name)}: {escape(part)} {value:,.2f} {unit}</title></rect>"
                )
            above, below = (above + value, below) if value >= 0 else (above, below + value)
        total = sum(values[part] for part in parts)
        lines.append(
            f'<circle class="dot" cx="{x(total):.1f}" cy="{y + ROW / 2}" r="5">'
            f"<title>{escape(name)}: in all {total:,.2f} {unit}</title></circle>"
        )
    lines.append(_zero(x(0.0), TOP, height - BOTTOM))
    return _svg(height, lines)


def curves(points: Mapping[str, Mapping[str, float | None]], unit: str) -> str:
    """A line a name over steps that are evenly apart (they are named, not measured)."""
    steps = list(next(iter(points.values()), {}))
    known = [value for values in points.values() for value in values.values() if value is not None]
    ticks = ticks_of(min([0.0, *known]), max([0.0, *known]))
    height = TOP + PLOT_HEIGHT + BOTTOM
    left, right = 60, WIDTH - 130
    y = _scale(ticks[0], ticks[-1], TOP + PLOT_HEIGHT, TOP)
    x = _scale(0, max(1, len(steps) - 1), left + 20, right - 20)
    lines = _horizontal_grid(ticks, y, left, right, unit)
    for place, step in enumerate(steps):
        lines.append(
            f'<text class="tick" x="{x(place):.1f}" y="{height - 14}" text-anchor="middle">'
            f"{escape(step)}</text>"
        )
    ends: list[tuple[float, int, str]] = []
    for index, (name, values) in enumerate(points.items()):
        way = [(x(place), y(value)) for place, value in enumerate(values.values()) if value is not None]
        if not way:
            continue
        path = " ".join(f"{one:.1f},{two:.1f}" for one, two in way)
        lines.append(f'<polyline class="line l{index % 6}" points="{path}"/>')
        for (step, value), at in zip(
            ((step, value) for step, value in values.items() if value is not None), way, strict=True
        ):
            lines.append(
                f'<circle class="s{index % 6} mark" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="4">'
                f"<title>{escape(name)}, {escape(step)}: {value:,.2f} {unit}</title></circle>"
            )
        ends.append((way[-1][1], index, name))
    lines += _names(ends, right - 8)
    return _svg(height, lines)


def scatter(points: Sequence[tuple[float, float, str]], slope: float, axes: tuple[str, str]) -> str:
    """Points (x, y, what), the line y = x, and the fitted one through the origin."""
    across = ticks_of(0.0, max([1.0, *(one for one, _, _ in points)]))
    up = ticks_of(min([0.0, *(two for _, two, _ in points)]), max([0.0, *(two for _, two, _ in points)]))
    height = TOP + PLOT_HEIGHT + BOTTOM + 16
    left, right = 60, WIDTH - 130
    x, y = _scale(across[0], across[-1], left, right), _scale(up[0], up[-1], TOP + PLOT_HEIGHT, TOP)
    lines = _horizontal_grid(up, y, left, right, axes[1])
    for tick in across:
        lines.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{TOP + PLOT_HEIGHT + 18}" text-anchor="middle">'
            f"{number(tick)}</text>"
        )
    for what, steep, style in (("as modelled", 1.0, "line dashed"), ("fitted", slope, "line l0")):
        if math.isfinite(steep):
            end = _inside(steep, across[-1], up[0], up[-1])
            lines.append(
                f'<line class="{style}" x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(end):.1f}" '
                f'y2="{y(end * steep):.1f}"/>'
            )
            lines.append(
                f'<text class="name" x="{x(end) + 6:.1f}" y="{y(end * steep) + 4:.1f}">{what}</text>'
            )
    for one, two, what in points:
        lines.append(
            f'<circle class="s0 point" cx="{x(one):.1f}" cy="{y(two):.1f}" r="4">'
            f"<title>{escape(what)}</title></circle>"
        )
    lines.append(
        f'<text class="tick" x="{(left + right) / 2}" y="{height - 4}" text-anchor="middle">{escape(axes[0])}'
        f"</text>"
    )
    return _svg(height, lines)


def histogram(values: Sequence[float], unit: str, bins: int = 30) -> str:
    """How often a value comes, in equal bins; costs and gains have a colour each."""
    ticks = ticks_of(min([0.0, *values]), max([0.0, *values]), 8)
    low, high = ticks[0], ticks[-1]
    wide = (high - low) / bins
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / wide))] += 1
    up = ticks_of(0.0, float(max([1, *counts])), 4)
    height = TOP + PLOT_HEIGHT + BOTTOM
    x, y = _scale(low, high, 60, WIDTH - RIGHT), _scale(0.0, up[-1], TOP + PLOT_HEIGHT, TOP)
    lines = _horizontal_grid(up, y, 60, WIDTH - RIGHT, "orders")
    for place, count in enumerate(counts):
        start = low + place * wide
        if count:
            style = "s1" if start + wide / 2 < 0 else "s0"
            lines.append(
                f'<rect class="{style}" x="{x(start) + 1:.1f}" y="{y(count):.1f}" '
                f'width="{x(start + wide) - x(start) - 2:.1f}" height="{y(0) - y(count):.1f}">'
                f"<title>{start:,.1f} to {start + wide:,.1f} {unit}: {count}</title></rect>"
            )
    for tick in ticks:
        lines.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{height - 14}" text-anchor="middle">'
            f"{number(tick)}</text>"
        )
    lines.append(_zero(x(0.0), TOP, TOP + PLOT_HEIGHT))
    return _svg(height, lines)


class _scale:  # noqa: N801 - a function with two parameters bound
    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._factor = (end - start) / ((high - low) or 1.0)

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) * self._factor


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return sum(value for value in values if value < 0), sum(value for value in values if value > 0)


def _inside(slope: float, across: float, low: float, high: float) -> float:
    """How far to the right a line through the origin stays in the picture."""
    if slope > 0 and slope * across > high:
        return high / slope
    if slope < 0 and slope * across < low:
        return low / slope
    return across


def _names(ends: Sequence[tuple[float, int, str]], left: float) -> list[str]:
    """Names of lines beside their ends, moved apart where they would meet."""
    found, last = [], -math.inf
    for y, index, name in sorted(ends):
        last = max(y, last + 15)
        found.append(
            f'<circle class="s{index % 6}" cx="{left + 2:.1f}" cy="{last:.1f}" r="4"/>'
            f'<text class="name" x="{left + 10:.1f}" y="{last + 4:.1f}">{escape(name)}</text>'
        )
    return found


def _vertical_grid(ticks: Sequence[float], x: _scale, bottom: float, unit: str) -> list[str]:
    lines = []
    for tick in ticks:
        at = f"{x(tick):.1f}"
        lines.append(f'<line class="grid" x1="{at}" y1="{TOP - 6}" x2="{at}" y2="{bottom}"/>')
        text = f"{number(tick)}{f' {unit}' if tick == ticks[-1] else ''}"
        lines.append(f'<text class="tick" x="{at}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    return lines


def _horizontal_grid(ticks: Sequence[float], y: _scale, left: float, right: float, unit: str) -> list[str]:
    lines = [f'<text class="tick" x="{left - 30}" y="{TOP - 14}">{escape(unit)}</text>'] if unit else []
    for tick in ticks:
        at = f"{y(tick):.1f}"
        style = "axis" if tick == 0 else "grid"
        lines.append(f'<line class="{style}" x1="{left}" y1="{at}" x2="{right}" y2="{at}"/>')
        lines.append(
            f'<text class="tick" x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{number(tick)}</text>'
        )
    return lines


def _zero(x: float, top: float, bottom: float) -> str:
    return f'<line class="axis" x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{bottom}"/>'


def _svg(height: float, lines: Sequence[str]) -> str:
    body = "\n".join(lines)
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img">\n{body}\n</svg>'
