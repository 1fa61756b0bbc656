"""docs/rules.md says what is so: its example runs, its expressions are taken, its tables are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streaming import engines, rules, tables
from streaming.authoring import cases, linter, tapes
from streaming.builder import RuleBuilder
from streaming.live import jobs
from streaming.rules import Rule
from tickloom.errors import RuleError
from tickloom.settings import FlinkSettings, KafkaSettings

DOCUMENT = rules.RULES_DIR.parent.parent / "docs" / "rules.md"
TEXT = DOCUMENT.read_text()
HEAD = ("symbol", "ts_event", "ts_recv", "seq")


def blocks() -> list[str]:
    """The indented blocks of the document, an empty line inside one kept."""
    found: list[list[str]] = [[]]
    for line in TEXT.split("\n"):
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif not line and found[-1]:
            found[-1].append("")
        elif found[-1]:
            found.append([])
    return ["\n".join(lines).strip("\n") + "\n" for lines in found if lines]


def block(opening: str) -> str:
    """The first block that opens so."""
    return next(one for one in blocks() if one.startswith(opening))


def section(title: str) -> str:
    """What is under a heading, up to the next one of its level."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture
def example(tmp_path: Path) -> Rule:
    """The example of the first section, with its tape."""
    path = tmp_path / "dearer.sql"
    path.write_text(block("-- rule: dearer"))
    folder = tmp_path / "tapes" / "dearer"
    folder.mkdir(parents=True)
    (folder / "rises.csv").write_text(block("kind,symbol"))
    (folder / "rises.signals.csv").write_text(block("symbol,side"))
    return rules.load(path)


def test_the_example_passes(example: Rule) -> None:
    """Copied as it stands there: the linter, and its tape."""
    linter.check(example)
    (case,) = cases.find(example)
    assert cases.run(example, case).passed
    assert len(case.expectation.signals if case.expectation else []) == 2


def _columns(row: str) -> set[str]:
    """Column names of a row of the table of views."""
    names: set[str] = set()
    for quoted in re.findall(r"`([^`]*)`", row.split("|")[2].partition(";")[0]):
        names |= {name.strip() for name in quoted.split(",")}
    return names


def test_views_and_their_columns() -> None:
    """The table has every view, and each column that it has besides those of all."""
    rows = {
        found[1]: found[0]
        for found in re.finditer(r"^\| `(\w+)` \|.*$", section("What it may read"), re.MULTILINE)
    }
    assert rows.keys() == set(tables.VIEWS)
    for view, (_, columns) in tables.EVENT_VIEWS.items():
        assert _columns(rows[view]) == {name for name, _, _ in columns} - set(HEAD), view
    derived = tables.DERIVED_VIEWS["bars_1s"][1]
    for name in _columns(rows["bars_1s"]):
        assert f" {name}" in derived


def test_outputs_keys_and_tape_cells() -> None:
    """Names that the code checks are the names that the document gives."""
    for name in rules.OUTPUT_COLUMNS:
        assert f"`{name}`" in section("What it must give")
    for name in ("rule", "version", "venue", "about", "kind", "parameter", "set"):
        assert f"| `{name}` |" in section("The header")
    for kind, cells in tapes.KINDS.items():
        row = next(line for line in section("Tapes").split("\n") if line.startswith(f"| `{kind}` |"))
        assert all(f"`{name}`" in row for name in cells), kind


def test_every_shipped_rule_is_an_example() -> None:
    """Six worked examples, each a file; links and paths lead somewhere."""
    named = set(re.findall(r"\.\./strategies/rules/(\w+)\.sql", section("Six worked examples")))
    assert len(named) == 6
    assert named <= set(rules.names())
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (DOCUMENT.parent / link).exists(), link
    for path in re.findall(r"`((?:streaming|strategies|tests)/[\w/.]+)`", TEXT):
        assert "NAME" in path or "dearer" in path or (DOCUMENT.parent.parent / path).exists(), path


EXPRESSIONS = block("A.price * 2").strip().split("\n")
PROBE = """\
-- rule: probe
-- version: 1
-- venue: XNAS
-- about: an expression of the document

SELECT symbol, 'buy' AS side, price AS strength, price AS ref_price, first_seq, last_seq
FROM trades MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY event_time, seq
  MEASURES A.seq AS first_seq, B.seq AS last_seq, B.price AS price
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A+? B) WITHIN INTERVAL '2' SECOND
  DEFINE A AS {condition}, B AS TRUE
)
"""


def probe(directory: Path, *expressions: str) -> Rule:
    path = directory / "probe.sql"
    condition = " AND ".join(f"({one}) IS NOT NULL" for one in expressions)
    path.write_text(PROBE.format(condition=condition))
    return rules.load(path)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_compiled_engine_takes_the_expression(expression: str, tmp_path: Path) -> None:
    """Each line of the section, as the condition of a variable; planned only."""
    from streaming.compiled import compile_rule
    from streaming.compiled.tree import walk

    rule = probe(tmp_path, expression)
    assert [finding for finding in linter.lint(rule) if finding.severity == "error"] == []
    condition, _ = compile_rule(rule).plan.conditions
    assert len(walk(condition)) > 1


def test_flink_takes_the_expressions(tmp_path: Path) -> None:
    """All of them in one rule, down to generated code; no server is asked."""
    assert len(EXPRESSIONS) > 20
    assert "Match(" in jobs.explain(probe(tmp_path, *EXPRESSIONS), FlinkSettings.load(), KafkaSettings.load())


@pytest.mark.parametrize("expression", ["A.side || 'x'", "A.side LIKE 'b%'", "A.side > 'buy'"])
def test_what_is_flinks_alone(expression: str, tmp_path: Path) -> None:
    """Said to be outside the compiled engine: it says so, and names the other one."""
    with pytest.raises(RuleError, match="--engine flink"):
        engines.make_matcher(probe(tmp_path, expression))


def test_builder_example() -> None:
    """The code of the section makes a rule."""
    source = block("from streaming.builder")
    printed: list[str] = []
    exec(source, {"print": printed.append})
    (text,) = printed
    assert "MATCH_RECOGNIZE" in text
    assert ":rise" in text
    for name in ("followed_by", "times", "one_or_more", "zero_or_more", "optional", "reluctant"):
        assert callable(getattr(RuleBuilder, name))


def test_commands_are_there() -> None:
    """Every `tickloom rules` command and option in the document exists."""
    from typer.main import get_command

    from tickloom.cli.rules import app

    group = get_command(app)
    for line in re.findall(r"tickloom rules ([a-z]+)([^\n`]*)", TEXT):
        command = group.commands[line[0]]  # type: ignore[attr-defined]
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        for option in re.findall(r"(?<![\w-])--?[a-z]+(?:-[a-z]+)*", line[1].partition("#")[0]):
            assert option in known, (line[0], option)
