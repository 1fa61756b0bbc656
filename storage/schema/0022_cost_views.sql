-- Costs by rule, by hour (UTC) and by destination, a row a day; basis points are weighted by notional.
CREATE VIEW IF NOT EXISTS costs_by_rule AS (
    SELECT
        timestamp_floor('d', ts) AS day,
        venue,
        rule,
        count() AS orders,
        sum(notional) AS notional,
        sum(shortfall) AS shortfall,
        10000 * sum(delay) / sum(notional) AS delay_bps,
        10000 * sum(market) / sum(notional) AS market_bps,
        10000 * sum(spread) / sum(notional) AS spread_bps,
        10000 * sum(opportunity) / sum(notional) AS opportunity_bps,
        10000 * sum(fees) / sum(notional) AS fees_bps,
        10000 * sum(shortfall) / sum(notional) AS shortfall_bps,
        avg(impact_bps) AS impact_bps,
        avg(model_bps) AS model_bps
    FROM order_costs
);
CREATE VIEW IF NOT EXISTS costs_by_hour AS (
    SELECT
        timestamp_floor('h', ts) AS hour,
        venue,
        count() AS orders,
        sum(notional) AS notional,
        sum(shortfall) AS shortfall,
        10000 * sum(delay) / sum(notional) AS delay_bps,
        10000 * sum(market) / sum(notional) AS market_bps,
        10000 * sum(spread) / sum(notional) AS spread_bps,
        10000 * sum(opportunity) / sum(notional) AS opportunity_bps,
        10000 * sum(fees) / sum(notional) AS fees_bps,
        10000 * sum(shortfall) / sum(notional) AS shortfall_bps
    FROM order_costs
);
CREATE VIEW IF NOT EXISTS costs_by_destination AS (
    SELECT
        timestamp_floor('d', ts) AS day,
        venue,
        destination,
        count() AS executions,
        sum(price * quantity) AS notional,
        sum(fee) AS fees,
        10000 * sum(fee) / sum(price * quantity) AS fees_bps,
        sum(effective_bps * price * quantity) / sum(price * quantity) AS effective_bps,
        sum(quoted_bps * price * quantity) / sum(price * quantity) AS quoted_bps,
        avg(capture) AS capture
    FROM execution_costs
);
-- Markouts from the quotes themselves: how far the mid is gone our way at each horizon after the execution, in basis
-- points of its price. Behind the day's last quote this takes the last there is; execution_costs has NULL there.
CREATE VIEW IF NOT EXISTS execution_markouts AS (
    SELECT
        timestamp_floor('d', e.ts) AS day,
        e.destination AS destination,
        e.rule AS rule,
        h.offset / 1000000000 AS horizon_s,
        count() AS executions,
        sum(
            CASE e.side WHEN 'buy' THEN 1 ELSE -1 END
            * ((q.bid_price + q.ask_price) / 2 - e.price) * 10000 * e.quantity
        ) / sum(e.price * e.quantity) AS markout_bps
    FROM execution_costs AS e
    HORIZON JOIN quotes AS q ON (venue, symbol)
    LIST (0, 1s, 10s, 1m, 5m) AS h
);
