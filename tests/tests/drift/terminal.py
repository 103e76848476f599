"""Runs a command on a terminal of its own and prints what that was sent: `terminal.py PROGRAM ARGUMENT…`."""

import os
import pty
import subprocess
import sys

terminal, inside = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=inside, stderr=inside)
os.close(inside)
while True:
    try:
        text = os.read(terminal, 1 << 16)
    except OSError:
        # Linux says so where the other end is closed.
        break
    if not text:
        break
    sys.stdout.buffer.write(text)
sys.exit(child.wait())
