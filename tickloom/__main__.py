"""``python -m tickloom``: the same as the ``tickloom`` command."""

from tickloom.cli import main

if __name__ == "__main__":
    main()
