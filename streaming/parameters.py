"""A rule's parameters: text from a header or a command line in, typed and canonical values out. Pure.

Each value has one canonical text (``3`` of a double is ``3.0``, ``1s`` of an interval ``1000ms``), which
goes into the rule's identity, and one SQL literal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tickloom.errors import RuleError

TYPES = ("double", "int", "string", "interval")
#: What may be written for each type, as error messages say it.
EXAMPLES = {
    "double": "a number such as 0.25",
    "int": "a whole number such as 4",
    "string": "a text on one line",
    "interval": "a number with ms, s, min or h, such as 500ms; less than 100 days",
}

_INTERVAL = re.compile(r"([0-9]+)(ms|s|min|h)")
_INTERVAL_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}
_INTERVAL_MS_END = 100 * 24 * 3_600_000  # Flink gives the days of an interval literal two digits
_INT_END = 2**63  # BIGINT


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value of a rule that its user may set. default: as it is written, or None."""

    name: str
    type: str
    default: str | None
    about: str
    line: int

    def canonical(self, value: str | float) -> str:
        """The one text of ``value``, the same for all ways to write it.

        Raises
        ------
        ValueError
            It is no value of the type.
        """
        text = str(value)
        if self.type == "double":
            number = float(text) + 0.0  # -0.0 is 0.0
            if number - number != 0.0:
                raise ValueError(f"{text} is not finite")
            return repr(number)
        if self.type == "int":
            whole = int(text)
            if not -_INT_END <= whole < _INT_END:
                raise ValueError(f"{text} does not fit 64 bits")
            return str(whole)
        if self.type == "interval":
            return f"{interval_ms(text)}ms"
        if "\n" in text or "\r" in text:  # it would shift the lines of Flink's messages
            raise ValueError("a line break")
        return text

    def check(self, value: str | float, path: str) -> str:
        """:meth:`canonical`, with an error that points to the parameter.

        Raises
        ------
        RuleError
            It is no value of the type.
        """
        try:
            return self.canonical(value)
        except ValueError:
            raise RuleError(path, self.line, self.refusal(value), f"write {EXAMPLES[self.type]}") from None

    def refusal(self, value: str | float) -> str:
        """What is wrong with a value that :meth:`canonical` refuses."""
        article = "an" if self.type in ("int", "interval") else "a"
        return f"parameter {self.name} = {str(value)!r} is not {article} {self.type}"

    def literal(self, value: str | float, path: str) -> str:
        """``value`` as an SQL literal of this parameter's type.

        Raises
        ------
        RuleError
            It is no value of the type.
        """
        text = self.check(value, path)
        if self.type == "double":
            # an exponent makes it a DOUBLE; a plain 0.20 is a DECIMAL to Flink
            return text if "e" in text else f"{text}E0"
        if self.type == "int":
            return text
        if self.type == "interval":
            return _interval_literal(interval_ms(text))
        return "'" + text.replace("'", "''") + "'"


def interval_ms(text: str) -> int:
    """Milliseconds of ``250ms``, ``10s``, ``5min``, ``1h``.

    Raises
    ------
    ValueError
        It is no interval, is zero, or is 100 days or longer.
    """
    found = _INTERVAL.fullmatch(text)
    ms = int(found[1]) * _INTERVAL_MS[found[2]] if found else 0
    if not 0 < ms < _INTERVAL_MS_END:
        raise ValueError(text)
    return ms


def interval_text(ms: int) -> str:
    """``ms`` in the largest unit that shows it whole: 90000 is ``90s``."""
    unit = next(unit for unit in ("h", "min", "s", "ms") if ms % _INTERVAL_MS[unit] == 0)
    return f"{ms // _INTERVAL_MS[unit]}{unit}"


def _interval_literal(ms: int) -> str:
    seconds, ms = divmod(ms, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}' DAY TO SECOND(3)"
