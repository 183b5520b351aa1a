"""`python -m whisperfusion`: the command, for installations without it on the PATH."""

import sys

from whisperfusion.programs.main import main

if __name__ == "__main__":
    sys.exit(main())
