"""The gate as a whole: lots, sides, switches, what only reduces; what a verdict says."""

from __future__ import annotations

import json

import pytest

from execution.risk import Check, Level
from tests.execution.risk.world import (
    ASK,
    BID,
    INTENT,
    TABLES,
    intent,
    refused,
    world,
)
from tickloom.prices import NANOS
from tickloom.records import replace

FIRM, RULE, INSTRUMENT = Level.FIRM, Level.STRATEGY, Level.INSTRUMENT


def test_whole_lots_only() -> None:
    """Of lots of one, nothing, less than a lot and a broken lot do not leave."""
    one = world()
    one.book.static[0, 0] = NANOS
    for quantity in (0, NANOS - 1, NANOS + 1):
        assert refused(one.check(intent(quantity))) == (Check.LOT, INSTRUMENT)
    assert refused(one.check(intent(2 * NANOS))) is None


def test_short_sale_rule_looks_at_the_best_bid_of_all_venues() -> None:
    """With a bid of 100 on another venue a short sale must ask for more than 100; a long sale need not."""
    tables = {TABLES[INSTRUMENT]: {"short_sale_restricted": "true"}}
    one = world(tables)
    one.quote(bid=100 * NANOS, ask=101 * NANOS, venue="XBOS")
    assert refused(one.check(intent(side="sell", price=100 * NANOS))) == (Check.SHORT_SALE, INSTRUMENT)
    assert refused(one.check(intent(side="sell", price=100 * NANOS + 1))) is None
    one.fill("buy", 100 * NANOS, BID)
    assert refused(one.check(intent(side="sell", price=99 * NANOS))) is None


def test_short_sale_restriction_from_the_feed() -> None:
    """The venue's own message puts the rule in force, and takes it out."""
    one, sell = world(), intent(side="sell", price=BID)
    one.book.market.short_restricted("XNAS", "ALFA", True)
    assert refused(one.check(sell)) == (Check.SHORT_SALE, INSTRUMENT)
    one.book.market.short_restricted("XNAS", "ALFA", False)
    assert refused(one.check(sell)) is None


def test_market_order_is_priced_at_the_touch_and_meets_every_own_order() -> None:
    """100 at the ask of 101 are 10,100; an own sell order anywhere would be met."""
    one = world()
    assert one.check(intent(price=0)).number(Check.ORDER_NOTIONAL, FIRM)[0] == 10_100 * NANOS
    one.order(symbol="ALFA", side="sell", limit_price=500 * NANOS)
    assert refused(one.check(intent(price=0))) == (Check.SELF_TRADE, FIRM)


def test_what_only_reduces_is_let_out_of_a_loss() -> None:
    """Past its loss limit a rule may sell what it is long, and not a nano more."""
    one = world(
        {
            "firm": {
                "daily_loss_max": '"1"',
                "drawdown_max": '"1"',
                "gross_exposure_max": '"1"',
                "buying_power": '"1"',
            }
        }
    )
    one.fill("buy", 100 * NANOS, 105 * NANOS)
    assert refused(one.check(intent(1, side="buy"))) is not None
    verdict = one.check(intent(side="sell", price=BID))
    assert refused(verdict) is None
    assert [found.check for found in verdict.results() if found.reduces] == [
        Check.GROSS_EXPOSURE, Check.BUYING_POWER, Check.DAILY_LOSS, Check.DRAWDOWN,
    ]  # fmt: skip
    assert refused(one.check(intent(100 * NANOS + 1, side="sell", price=BID))) is not None


def test_a_rule_that_is_switched_off_may_be_unwound_and_no_more() -> None:
    """Its position may be taken down by a plan, to nothing; a signal of it still does not trade."""
    one = world({"rules.rule": {"enabled": "false"}})
    one.fill("buy", 100 * NANOS, BID)
    sell = intent(side="sell", price=BID)
    assert refused(one.check(sell)) == (Check.RULE, RULE)
    assert refused(one.check(replace(sell, unwinding=True))) is None
    assert refused(one.check(replace(sell, unwinding=True, quantity=100 * NANOS + 1))) == (Check.RULE, RULE)


def test_reduce_only_counts_what_is_open_already() -> None:
    """Long 100 with 40 open to sell: 60 more reduce, 60 and a nano would turn the position."""
    one = world()
    one.fill("buy", 100 * NANOS, BID)
    one.order(40 * NANOS, symbol="ALFA", side="sell", limit_price=ASK)
    one.book.reduce_only("loss")
    assert refused(one.check(intent(60 * NANOS, side="sell", price=BID))) is None
    assert refused(one.check(intent(60 * NANOS + 1, side="sell", price=BID))) == (Check.REDUCE_ONLY, FIRM)


def test_same_name_at_three_levels_each_is_checked() -> None:
    """300 of the firm, 200 of the rule, 100 of the instrument: whichever is past is named."""
    tables = {
        TABLES[level]: {"order_quantity_max": f'"{amount}"'}
        for level, amount in ((FIRM, 300), (RULE, 200), (INSTRUMENT, 250))
    }
    one = world(tables)
    assert refused(one.check(intent(200 * NANOS))) is None
    assert refused(one.check(intent(201 * NANOS))) == (Check.ORDER_QUANTITY, RULE)
    assert refused(one.check(replace(intent(301 * NANOS), rule="other"))) == (Check.ORDER_QUANTITY, FIRM)
    assert refused(one.check(replace(intent(251 * NANOS), rule="other"))) == (
        Check.ORDER_QUANTITY,
        INSTRUMENT,
    )


def test_refusal_names_check_limit_value_and_level() -> None:
    """The reason on the order's row says all that is needed to understand it."""
    one = world({TABLES[INSTRUMENT]: {"position_max": '"300"'}})
    one.fill("buy", 250 * NANOS, BID)
    refusal = one.gate.refusal(one.check(), INTENT)
    assert refusal is not None
    assert refusal.text == "position: worst case 350 long, limit 300 (XNAS ALFA)"


def test_verdict_keeps_every_value_beside_its_limit() -> None:
    """What was measured and what was allowed is on the record, also of an order that passed."""
    found = {(one.check, one.level): one for one in world().check().results()}
    assert found[(Check.ORDER_NOTIONAL, INSTRUMENT)].text == "order_notional instrument: 10100 of 100000000"
    assert found[(Check.PRICE_COLLAR, INSTRUMENT)].text == "price_collar instrument: 100 bps of 10000 bps"
    assert b'"refused":null' in world().check().as_json()


@pytest.mark.parametrize("quantity", [NANOS, 10**9 * NANOS])
@pytest.mark.parametrize("halted", [False, True])
def test_a_verdict_as_text_says_what_its_results_say(quantity: int, halted: bool) -> None:
    """Of an order that passes, of one that is past several limits, of one that only reduces."""
    one = world(
        {TABLES[INSTRUMENT]: {"position_max": '"300"'}, TABLES[FIRM]: {"order_quantity_max": '"500"'}}
    )
    one.fill("sell", 900 * NANOS, BID)
    one.book.halt("test" if halted else None)
    verdict = one.check(intent(quantity))
    found = json.loads(verdict.as_json())
    refused = None if verdict.passed else [verdict.check, verdict.level.name.lower()]  # type: ignore[union-attr]
    assert found["refused"] == refused
    assert (found["revision"], found["digest"]) == (verdict.revision, verdict.digest)
    assert found["checks"] == [
        [result.check, result.level.name.lower(), result.value, result.limit, result.passed]
        for result in verdict.results()
    ]


def test_orders_that_never_rest_cannot_be_met() -> None:
    """An IOC whose answer is outstanding stands in no book; a day order does."""
    for time_in_force, expected in (("ioc", None), ("fok", None), ("day", (Check.SELF_TRADE, FIRM))):
        one = world()
        one.order(symbol="ALFA", side="sell", limit_price=BID, time_in_force=time_in_force)
        assert refused(one.check()) == expected


def test_reasons_of_switches_are_kept_apart() -> None:
    """A kill switch that is released does not take the reason of a stopped level with it."""
    one = world()
    one.book.reduce_only("loss of firm")
    one.book.halt("drill (ann)")
    first = one.gate.refusal(one.check(), INTENT)
    one.book.halt(None)
    second = one.gate.refusal(one.check(), INTENT)
    assert first is not None
    assert second is not None
    assert (first.value, second.value) == ("halted: drill (ann)", "would not reduce a position: loss of firm")


def test_more_rules_than_there_was_room_for() -> None:
    """The book grows; what stood in it, sums and limits included, is as before."""
    one = world({"rules.rule": {"order_quantity_max": '"99"'}})
    one.fill("buy", 10 * NANOS, BID)
    before = one.check(intent(99 * NANOS)).results()
    for number in range(100):
        one.fill("buy", NANOS, BID, "BRVO", f"retired{number}")
    assert one.book.position("XNAS", "BRVO") == (100 * NANOS, 0, 0)
    assert one.book.position("XNAS", "BRVO", "retired99") == (NANOS, 0, 0)
    after = {(each.check, each.level): each for each in one.check(intent(99 * NANOS)).results()}
    for each in before:
        if each.level is not FIRM:
            assert after[(each.check, each.level)] == each
    assert refused(one.check()) == (Check.ORDER_QUANTITY, RULE)
    assert refused(one.check(intent(rule="retired99"))) == (Check.RULE, RULE)


def test_looking_changes_nothing() -> None:
    """The gate may be asked as often as one likes: state before and after are the same bytes."""
    one = world()
    one.order(symbol="ALFA")
    one.check()
    before = [array.tobytes() for array in (one.book.rows, one.book.cells, one.book.static, one.book.stamps)]
    first = one.check()
    assert one.check() == first
    assert [
        array.tobytes() for array in (one.book.rows, one.book.cells, one.book.static, one.book.stamps)
    ] == before
