# SPDX-License-Identifier: Apache-2.0
"""Run a command on a terminal of 33 rows and 111 columns, of 44 and 122 after 3 s; exit with its status.

With TYPE_AFTER_3S in the environment, that is typed 3 s after the start.
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT_S = 60


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def main():
    # The size is there before the command looks at it.
    gate_out, gate_in = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        os.read(gate_out, 1)
        os.execvp(sys.argv[1], sys.argv[1:])
    resize(terminal, 33, 111)
    os.write(gate_in, b"x")
    started, resized = time.monotonic(), False
    while time.monotonic() < started + LIMIT_S:
        if not resized and time.monotonic() > started + 3:
            resized = True
            resize(terminal, 44, 122)
            os.write(terminal, os.environb.get(b"TYPE_AFTER_3S", b""))
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has it open any more
            break
        if not data:
            break
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) % 256


sys.exit(main())
