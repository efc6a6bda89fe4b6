"""`python -m codax` does what `codax` does."""

import sys

from codax.cli import main

if __name__ == "__main__":
    sys.exit(main())
