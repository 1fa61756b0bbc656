"""The simulated exchange: fills orders against the live book of the feed. A process of its own.

``book`` and ``matching`` are pure, ``record`` is its durable memory, ``server`` the TCP and Kafka shell.
"""
