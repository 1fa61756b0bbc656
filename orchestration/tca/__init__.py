"""Transaction cost analysis: what each parent order cost against what it was decided at, and why.

``terms`` are the words, ``journal`` reads parents and fills, ``tape`` a day's market of an instrument;
``shortfall`` is exact arithmetic, ``quality`` the doubles beside it, ``impact`` the model; ``day`` puts a day
together, ``groups`` sums it up, ``report`` and ``charts`` show it.
"""
