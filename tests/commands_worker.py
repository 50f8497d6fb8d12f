"""Run by tests/test_shared_work.py under torchrun, and in one process as the reference: commands, one after another."""

import json
import sys

from ganvas.cli import main

for command in json.loads(sys.argv[1]):
    code = main(command)
    if code:
        sys.exit(code)
