"""`python -m tmp_utils <command>`: every command of the project; `--help` lists them."""

import sys

from tmp_utils.commands import run

sys.exit(run(sys.argv[1:]))
