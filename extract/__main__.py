"""`python -m extract …` and `python -m extract reconcile …`, as crontabs call them."""

import sys

if __name__ == "__main__":
    from scripts.cli import main

    wanted = "reconcile" if "reconcile" in sys.argv[1:] else "extract"
    raise SystemExit(main([wanted, *(each for each in sys.argv[1:] if each != "reconcile")]))
