"""Files of any kind in, event blocks out, with what was rejected and why: what ``tickloom load`` runs.

:mod:`ingest.bulk.load` says what a file is and gives a source for it. Captures and files of feeds go
through the decoders of :mod:`ingest.feeds`, without a capture in between; rows of CSV, Parquet and Lean's
zips through :mod:`ingest.bulk.tables` and :mod:`ingest.bulk.lean`. Nothing here knows a server: blocks go
to whoever asked.
"""
