"""The simulated exchange: fills orders against the live book of the feed. A process of its own.

``matching`` is the pure core, over ``market`` (venues and their feeds), ``lit`` and ``dark`` (how orders
meet), ``queue`` and ``impact``. ``record`` is its durable memory, ``server`` the shell; protocols are
ports (``simulated_port``, ``ouch_port``), its feed ``market_data``, faults on demand ``control``.
"""
