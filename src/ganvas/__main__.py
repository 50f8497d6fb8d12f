"""`python -m ganvas`"""

import os
import sys

from ganvas.cli import main
from ganvas.signals import several_processes

if __name__ == "__main__":
    code = main()
    if several_processes():
        # One of several processes: threads of the communication library that end late would now and then abort a process
        # whose work is done and written.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
