"""A name in, a new rule with a tape out: `tickloom rules new`. It passes check and test as it is."""

from __future__ import annotations

from pathlib import Path

from streaming import rules
from streaming.authoring import cases
from streaming.authoring.cells import shown
from streaming.authoring.tapes import SIGNALS_SUFFIX
from tickloom.errors import RuleError

RULE = """\
-- rule: {name}
-- version: 1
-- venue: XNAS
-- about: A trade is dearer than the one before it. Say here in words when the rule fires; a line that
--   begins with more blanks goes on with the one above. strength is the rise in basis points, ref_price
--   the second trade's price.
-- parameter: rise_bps double 5.0 basis points from the first trade to the second, at least
-- parameter: span interval 2s from the first trade to the second, exclusive

-- The header ends with the first empty line. A parameter has a name, a type (double, int, string or
-- interval), a default (- for none) and a text; the SELECT says :rise_bps. Raise the version with every
-- change that may change a signal: it is part of a signal's identity. See docs/rules.md.

-- Filter first, because the pattern pays for every row that it looks at.
WITH regular AS (
  SELECT symbol, event_time, seq, price
  FROM trades                        -- or quotes, statuses, gaps, bars_1s, ...
  WHERE `condition` = 'regular'
)
-- These six columns, no more and no less, and none of them NULL.
SELECT
  symbol,
  'buy' AS side,
  rise_bps AS strength,
  price AS ref_price,
  first_seq,
  last_seq
FROM regular MATCH_RECOGNIZE (
  PARTITION BY symbol                -- each symbol is matched by itself
  ORDER BY event_time, seq           -- seq decides within a millisecond
  MEASURES
    BASE.seq AS first_seq,
    RISE.seq AS last_seq,
    RISE.price AS price,
    -- ROUND, so that 5 basis points are 5 and not 4.999999999
    ROUND((RISE.price / BASE.price - 1) * 10000, 6) AS rise_bps
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW     -- matches share no row; SKIP TO NEXT ROW: they may
  -- One row after the other, none left out. A variable may have a quantifier, * + ? {{3}} {{3,}} {{3,5}}, and
  -- a ? behind it for as few rows as possible; the last one must not vary. WITHIN bounds the time from the
  -- first row to the last.
  PATTERN (BASE RISE) WITHIN :span
  -- FIRST, LAST, COUNT, SUM, AVG, MIN and MAX look at the rows that a variable took so far.
  DEFINE
    BASE AS TRUE,                    -- any row
    RISE AS ROUND((RISE.price / BASE.price - 1) * 10000, 6) >= :rise_bps
)
"""

TAPE = """\
kind,symbol,time_s,price,size,side,condition
# Ten basis points from the second trade to the third.
trade,UP,0.000,100.00,100,buy,
trade,UP,0.500,100.00,200,sell,
trade,UP,1.000,100.10,100,buy,
# Four are not enough.
trade,SMALL,0.000,100.00,100,buy,
trade,SMALL,0.500,100.04,100,buy,
# Two seconds are not within two seconds.
trade,SLOW,0.000,100.00,100,buy,
trade,SLOW,2.000,100.10,100,buy,
# The auction between them is not looked at.
trade,AUCTION,0.000,100.00,100,buy,
trade,AUCTION,0.500,99.00,5000,none,cross
trade,AUCTION,1.000,100.05,100,buy,
"""

SIGNALS = """\
# What the rule must give over {tape}. first_row and last_row are rows of that file, whose first is 1.
# A line such as "# param: rise_bps=3", with one # only, would run it with that value.
symbol,side,strength,ref_price,first_row,last_row
UP,buy,10,100.1,4,5
AUCTION,buy,5,100.05,13,15
"""

LIMITS = """\
# {name} signals but does not trade. To let it, choose its limits and remove the # before them.
# [rules.{name}]
# notional = "1000"
# time_in_force = "ioc"
# slippage_bps = 5
# signal_age_ms_max = 5000
# event_age_ms_max = 60000
# repeat_ms_min = 10000
# daily_loss_max = "100"

"""


def write_rule(name: str, directory: Path = rules.RULES_DIR) -> list[Path]:
    """Write a new rule and its tape into ``directory``. Returns the files: rule, tape, expected signals.

    Raises
    ------
    RuleError
        The name is none, or one of the files is there already. Nothing is written then.
    """
    path = directory / f"{name}.sql"
    if not rules.is_name(name):
        raise RuleError(shown(path), 0, f"{name!r} is no name", "small letters, digits and _, a letter first")
    if not directory.is_dir():
        raise RuleError(shown(path), 0, f"there is no directory {shown(directory)}", "make it first")
    tape = directory / cases.TAPES / name / "rises.csv"
    signals = tape.with_name(f"{tape.stem}{SIGNALS_SUFFIX}")
    for one in (path, tape, signals):
        if one.exists():
            raise RuleError(shown(one), 0, "it is there already", "take another name; nothing was written")
    tape.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RULE.format(name=name))
    tape.write_text(TAPE)
    signals.write_text(SIGNALS.format(tape=tape.name))
    return [path, tape, signals]


def add_limits(name: str, limits_file: Path) -> bool:
    """Add limits for a rule, commented out, to the agent's limits file: no limits, no orders.

    Returns False, and changes nothing, where there is no such file or it names the rule already.
    """
    if not limits_file.is_file():
        return False
    text = limits_file.read_text()
    if f"[rules.{name}]" in text:
        return False
    before, instruments, after = text.partition("[instruments")  # the rules' tables come before these
    limits_file.write_text(f"{before}{LIMITS.format(name=name)}{instruments}{after}")
    return True
