"""A rule file in, a checked header and the SELECTs that Flink runs out.

A file ``strategies/rules/NAME.sql`` opens with a header, ends it with an empty line, and goes on with
one SELECT::

    -- rule: pair_spread
    -- version: 1
    -- venue: XNAS
    -- about: when it fires, in words;
    --   a line that begins with more blanks goes on with the one above
    -- parameter: deviation double - one standard deviation of the spread, dollars
    -- parameter: entry double 2.5 deviations at which it fires
    -- set: ALFA~BRVO leg_a=ALFA leg_b=BRVO deviation=0.20
    -- set: ECHO~FXTR leg_a=ECHO leg_b=FXTR deviation=0.20

A parameter has a name, a type (double, int, string, interval), a default (``-``: none) and a text; the
SELECT says ``:name``. An interval is a number and its unit: 250ms, 10s, 5min, 1h. Each ``set`` is one
more calibration: the SELECT runs once for each, in one job. The version is part of every signal's
identity: raise it with every change that may change a signal. A parameter that is overridden when the
rule is run becomes part of it too (:func:`version_of`). ``-- kind: absence`` says that the SELECT is over
ABSENCE (``streaming.absence``); without it, or with ``pattern``, over MATCH_RECOGNIZE.

A file ``strategies/jobs/NAME.py`` is a rule too, a job: its docstring is the header, without ``--``, and
``reads: trades, quotes`` in it names the views that it reads (``streaming.job``).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from streaming import header, sqltext
from streaming.parameters import EXAMPLES, Parameter
from tickloom.errors import RuleError, SettingsError

RULES_DIR = Path(__file__).resolve().parent.parent / "strategies" / "rules"
JOBS_DIR = RULES_DIR.parent / "jobs"
DIRECTORIES = (RULES_DIR, JOBS_DIR)
#: What a rule must select, in any order.
OUTPUT_COLUMNS = ("symbol", "side", "strength", "ref_price", "first_seq", "last_seq")
#: The measure that the harness adds: event time of a match's last row.
MATCH_TIME = "match_time"

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
PATTERN, ABSENCE = KINDS = ("pattern", "absence")
JOB = "job"  # the kind of a Python file; no header says it


@dataclass(slots=True)
class Rule:
    """A rule file.

    Attributes
    ----------
    sets : dict
        Name of a set to the parameters that it fixes; {"": {}} where the file has none.
    text : str
        The SELECT, with the header blanked out, so that its line numbers are the file's. Of a job, its
        source.
    kind : str
        Of :data:`KINDS`: what the SELECT is over; or :data:`JOB`.
    reads : tuple of str
        Views that a job reads; of the other kinds ``streaming.engines.views_read`` knows.
    """

    path: Path
    name: str
    version: str
    about: str
    venue: str
    parameters: dict[str, Parameter]
    sets: dict[str, dict[str, str]]
    text: str
    header_lines: dict[str, int] = field(default_factory=dict)
    kind: str = PATTERN
    reads: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The path as messages show it: below the working directory where it is there."""
        try:
            return str(self.path.relative_to(Path.cwd()))
        except ValueError:
            return str(self.path)

    @property
    def job_name(self) -> str:
        """What Flink's web UI shows."""
        return f"rule: {self.name} v{self.version}"


def is_name(text: str) -> bool:
    """Whether a rule, or a parameter, may be called so."""
    return header.NAME.fullmatch(text) is not None


def names(directories: Sequence[Path] = DIRECTORIES) -> list[str]:
    """Names of all rules there are."""
    return sorted({path.stem for path in _files(directories)})


def _files(directories: Sequence[Path]) -> list[Path]:
    suffixes = (".sql", ".py")
    return [
        path
        for directory in directories
        for path in directory.glob("*")
        if path.suffix in suffixes and not path.name.startswith("_")
    ]


def find(name: str, directories: Sequence[Path] = DIRECTORIES) -> Rule:
    """Load a rule by its name, or by the path of its file.

    Raises
    ------
    RuleError
        There is no such rule, or its header is refused.
    """
    if name.endswith((".sql", ".py")):
        paths = [path for path in [Path(name)] if path.exists()]
    else:
        paths = [path for path in _files(directories) if path.stem == name]
    if len(paths) > 1:
        second = str(paths[1])
        raise RuleError(second, 0, f"{paths[0].name} is rule {name!r} too", "give one of them another name")
    if not paths:
        known = names(directories)
        close = difflib.get_close_matches(name, known, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known) or 'none'}"
        path = name if name.endswith((".sql", ".py")) else str(directories[0] / f"{name}.sql")
        raise RuleError(path, 0, "there is no such rule", fix)
    return load(paths[0])


def load(path: Path) -> Rule:
    """Read a rule file and check its header. The SELECT is the linter's.

    Raises
    ------
    RuleError
        With the line of the header that is refused.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RuleError(str(path), line, "not UTF-8", "save it with the character set UTF-8") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise RuleError(str(path), 0, reason, "name a rule file that can be read") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Rule:
    """A rule from its text; ``path`` is for messages, and its stem must be the rule's name."""
    shown = str(path)
    in_python = path.suffix == ".py"
    entries, body_line = (header.of_python(text, shown), 1) if in_python else header.of_sql(text, shown)
    single = {key: (line, value) for line, key, value in entries if key not in header.REPEATED}
    for key in header.REQUIRED:
        if not single.get(key, (0, ""))[1]:
            raise RuleError(
                shown, 1, f"the header has no {key!r}", f"add a line {'' if in_python else '-- '}{key}: ..."
            )
    name_line, name = single["rule"]
    if not is_name(name):
        fix = "small letters, digits and _, a letter first"
        raise RuleError(shown, name_line, f"rule {name!r} is no name", fix)
    if name != path.stem:
        raise RuleError(shown, name_line, f"rule {name!r} in the file {path.name}", f"write {path.stem!r}")
    version_line, version = single["version"]
    if not _VERSION.fullmatch(version):
        raise RuleError(shown, version_line, f"version {version!r}", "write letters, digits, dots and dashes")
    parameters = header.parameters_of(entries, shown)
    lines = text.split("\n")
    return Rule(
        path,
        name,
        version,
        single["about"][1],
        single["venue"][1],
        parameters,
        header.sets_of(entries, shown, parameters) or {"": {}},
        text if in_python else "\n" * (body_line - 1) + "\n".join(lines[body_line - 1 :]),
        {key: line for key, (line, _) in single.items()},
        *_kind(single, shown, in_python),
    )


def _kind(single: Mapping[str, tuple[int, str]], path: str, in_python: bool) -> tuple[str, tuple[str, ...]]:
    """Kind of a rule, and of a job what it reads."""
    if in_python and "kind" in single:
        raise RuleError(path, single["kind"][0], "a Python file is a job", "remove the line kind: ...")
    if in_python:
        line, views = single.get("reads", (1, ""))
        reads = tuple(views.replace(",", " ").split())
        if not reads:
            raise RuleError(path, line, "the header has no 'reads'", "add a line reads: trades, quotes")
        return JOB, reads
    if "reads" in single:
        raise RuleError(path, single["reads"][0], "the SELECT itself says what it reads", "remove that line")
    line, kind = single.get("kind", (0, PATTERN))
    if kind not in KINDS:
        raise RuleError(path, line, f"kind {kind!r}", f"one of {', '.join(KINDS)}")
    return kind, ()


#: Parameters given at submit: ``{"entry": "3"}`` for all sets, ``{"ALFA~BRVO.entry": "3"}`` for one.
Overrides = Mapping[str, str | float]


def values(rule: Rule, set_name: str, overrides: Overrides | None = None) -> dict[str, str]:
    """Value of each parameter in a set, as it is written: override, else the set's, else the default.

    Raises
    ------
    SettingsError
        An override that the rule does not know, or that is no value of the parameter's type.
    RuleError
        A parameter without a value.
    """
    given = _checked(rule, overrides or {})
    found: dict[str, str] = {}
    for key, parameter in rule.parameters.items():
        value = given.get(f"{set_name}.{key}", given.get(key, _of_file(rule, set_name, parameter)))
        if value is None:
            where = f"set {set_name}" if set_name else "no set"
            raise RuleError(
                rule.file,
                parameter.line,
                f"parameter {key} has no value ({where})",
                f"give it a default, or --param {key}=...",
            )
        found[key] = value
    return found


def _of_file(rule: Rule, set_name: str, parameter: Parameter) -> str | None:
    return rule.sets[set_name].get(parameter.name, parameter.default)


def _checked(rule: Rule, overrides: Overrides) -> dict[str, str]:
    """Overrides as texts, each of a parameter that there is, and of its type."""
    known = {
        **rule.parameters,
        **{f"{name}.{key}": one for name in rule.sets if name for key, one in rule.parameters.items()},
    }
    for key, value in overrides.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"it has {', '.join(rule.parameters) or 'none'}."
            )
            raise SettingsError(f"rule {rule.name} has no parameter {key!r}; {hint}")
        try:
            known[key].canonical(value)
        except ValueError:
            raise SettingsError(
                f"rule {rule.name}: {known[key].refusal(value)}; write {EXAMPLES[known[key].type]}."
            ) from None
    return {key: str(value) for key, value in overrides.items()}


def version_of(rule: Rule, overrides: Overrides | None = None) -> str:
    """The version that a rule's signals carry: the file's, and what overrides make of it.

    An override that changes a value, in whatever way both are written, adds ``+`` and eight hex digits
    of a hash over all values that differ from the file's. So signals of other parameters have other
    ids, and ``2.50`` for ``2.5`` is no other parameter.

    Raises
    ------
    SettingsError, RuleError
        As :func:`values`.
    """
    changed = []
    for set_name in sorted(rule.sets):
        for key, value in sorted(values(rule, set_name, overrides).items()):
            parameter = rule.parameters[key]
            before = _of_file(rule, set_name, parameter)
            after = parameter.check(value, rule.file)
            if before is None or parameter.check(before, rule.file) != after:
                changed.append((set_name, key, after))
    if not changed:
        return rule.version
    return f"{rule.version}+{hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:8]}"


def bind(rule: Rule, overrides: Overrides | None = None) -> Rule:
    """The rule with its overrides built in: canonical values in its sets, and :func:`version_of` them.

    Overriding the bound rule once more with the same values changes nothing.
    """
    bound = {
        name: {
            key: rule.parameters[key].check(value, rule.file)
            for key, value in values(rule, name, overrides).items()
        }
        for name in rule.sets
    }
    return replace(rule, version=version_of(rule, overrides), sets=bound)


def render(rule: Rule, overrides: Overrides | None = None) -> list[str]:
    """One SELECT a set: parameters as literals, and :data:`MATCH_TIME` added as measure and output.

    Line numbers stay those of the file, so that Flink's messages point into it. The time is that of the
    match's last row. MATCH_ROWTIME() is not: a match that is complete waits while one that began earlier
    may still become one, and MATCH_ROWTIME() is the time of what ended the wait, a later row or a
    watermark; at the end of bounded input it is the end of time.
    """
    query = sqltext.parse(rule.text, rule.file)
    measures = query.match.clauses["MEASURES"].tokens[-1]
    last = next(
        token.text
        for token in reversed(query.match.clauses["PATTERN"].tokens)
        if token.kind in ("word", "quoted")
    )
    added = [
        (query.select_items[-1][-1].end, query.select_items[-1][-1].end, f", {MATCH_TIME}"),
        (measures.end, measures.end, f", {last}.event_time AS {MATCH_TIME}"),
    ]
    rendered = []
    for set_name in rule.sets:
        chosen = values(rule, set_name, overrides)
        edits = list(added)
        for token in query.tokens:
            if token.kind == "parameter":
                name = token.text[1:]
                if name not in chosen:
                    raise RuleError(
                        rule.file, token.line, f"unknown parameter :{name}", "declare it in the header"
                    )
                edits.append((token.start, token.end, rule.parameters[name].literal(chosen[name], rule.file)))
        text = rule.text
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
        rendered.append(text.rstrip().rstrip(";"))
    return rendered
