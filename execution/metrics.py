"""What the agent and the exchange count, for Prometheus."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

_Metric = TypeVar("_Metric", Counter, Gauge)

SIGNALS = Counter("tickloom_execution_signals", "Signals consumed, by what became of them", ["verdict"])
ORDERS = Counter("tickloom_execution_orders", "Order state changes", ["state"])
REFUSED = Counter("tickloom_execution_refused", "Order intents refused before they left", ["check"])
EXECUTIONS = Counter("tickloom_execution_executions", "Fills booked", ["venue"])
ALERTS = Counter("tickloom_execution_alerts", "What somebody must look at", ["kind"])
OPEN_ORDERS = Gauge("tickloom_execution_open_orders", "Orders that may still be filled")
UNKNOWN_ORDERS = Gauge("tickloom_execution_unknown_orders", "Orders whose fate is not known")
POSITION = Gauge("tickloom_execution_position", "Units held, signed", ["venue", "symbol"])
PNL = Gauge("tickloom_execution_pnl", "Of the UTC day, quote currency", ["scope"])
VAR = Gauge("tickloom_execution_var", "Value at risk, quote currency", ["scope", "method"])
EXPECTED_SHORTFALL = Gauge(
    "tickloom_execution_expected_shortfall", "Beyond the value at risk, quote currency", ["scope", "method"]
)
UNWINDING = Gauge(
    "tickloom_execution_unwinding_stage", "Stage of each unwinding (6: done)", ["breach", "scope"]
)
HALTED = Gauge("tickloom_execution_halted", "1 while the kill switch is on")
CONNECTED = Gauge("tickloom_execution_gateway_connected", "1 while the venue session is up", ["gateway"])
OUTBOX = Gauge("tickloom_execution_outbox", "Facts that have not reached a sink", ["sink"])
SIGNAL_TO_ORDER = Histogram(
    "tickloom_execution_signal_to_order_seconds",
    "From the rule firing to the order handed to the gateway",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
FEED_BATCHES = Counter("tickloom_execution_feed_batches", "Tick batches followed", ["venue"])
FEED_LAG = Gauge(
    "tickloom_execution_feed_lag_seconds", "Age of the last tick batch when it had been dealt with", ["venue"]
)

EXCHANGE_ORDERS = Counter("tickloom_exchange_orders", "Orders taken by the simulated exchange", ["outcome"])
EXCHANGE_EXECUTIONS = Counter("tickloom_exchange_executions", "Fills made", ["venue"])
EXCHANGE_SESSIONS = Gauge("tickloom_exchange_sessions", "Clients logged on")


@cache
def of(metric: _Metric, *labels: str) -> _Metric:
    """A metric's child of these labels, looked up once: six of them a signal took 3 us each.

    For labels of which there are few: states, instruments, destinations.
    """
    return metric.labels(*labels)
