"""Feeds that come as UDP datagrams on several lines: what ITCH, IEX and MDP 3.0 share.

A venue sends the same numbered packets on two lines or more (A, B, ...). All that comes is captured with its
receive time and its line; which copy goes on, what is held and what is given up decides the feed's decoder,
by the capture alone (docs/decisions/0003).

``sockets``   one socket a line; datagrams with receive time and line out
``counts``    what each line brought: first, late, repeated, lost, ahead by how much (pure)
``watch``     lines that fall silent while others are heard (pure)
``metrics``   both, for Prometheus
``gaps``      ranges of numbers that never came, and the record that gives one up (pure)
``patience``  when a hole is given up (pure)
``feed``      what a feed says of itself to the session
``session``   the session of feeds that nobody can be asked to resend: IEX and MDP 3.0

ITCH has a session of its own (``ingest.itch.session``): it asks for what is missing, and for snapshots.
"""
