"""Bytes in, normalised events out: one folder a feed family, and what they share.

Every received datagram or message goes to the capture first; the capture is the log that each sink
(Kafka, QuestDB) follows on its own.
"""

import tickloom  # noqa: F401  (before Numba: it says where compiled kernels are kept)
