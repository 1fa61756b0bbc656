"""Numbers computed from the market for rules to read: the same kernel live, over history and in tests.

``spreads`` turns quotes into spreads of pairs, ``spread_kernel`` is its inner loop, ``spread_program`` puts
it between two Kafka topics.
"""
