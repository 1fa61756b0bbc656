"""Health check of a container: ``python -m tickloom.stack.probe URL`` exits 0 when URL answers 2xx."""

from __future__ import annotations

import sys

from tickloom.stack.service import http_answers


def main() -> None:
    """Check the address given on the command line; why it is not healthy goes to standard error."""
    sys.exit(http_answers(sys.argv[1])(1) or 0)


if __name__ == "__main__":
    main()
