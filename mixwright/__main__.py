"""`python -m mixwright` and the console command `mixwright`."""

from flows.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
