"""`python -m benchmarks.judge`: how often and how soon the judge is right, in seeded releases."""

import sys

from benchmarks.judge.command import main

if __name__ == "__main__":
    sys.exit(main())
