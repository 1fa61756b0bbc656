"""OUCH 5.0 order entry: messages to and from bytes. Pure; gateway and simulated exchange both use it."""
