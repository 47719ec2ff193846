"""``python -m ferdata_bench.guard check|record``."""

import sys

from ferdata_bench.guard.check import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
