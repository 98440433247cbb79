#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""terminal.py COMMAND…: runs the command, whose workload is a shell, in a terminal, and types into it as a person would: a
command that asks for the terminal's size, Ctrl-C, another size, and the shell's end. Prints what came back; exits as the command."""
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

LIMIT = 60  # seconds for one answer of an emulated guest on a busy machine


def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Screen:
    """What the terminal shows and was not looked at yet."""

    def __init__(self, fd):
        self.fd, self.rest = fd, b""

    def until(self, wanted):
        end = time.time() + LIMIT
        while wanted not in self.rest:
            if time.time() > end:
                self.give_up(wanted)
            if select.select([self.fd], [], [], 0.5)[0]:
                try:
                    data = os.read(self.fd, 4096)
                except OSError:
                    self.give_up(wanted)
                sys.stdout.write(data.decode(errors="replace"))
                self.rest += data
        self.rest = self.rest.split(wanted, 1)[1]

    def give_up(self, wanted):
        sys.exit(f"terminal: '{wanted.decode()}' has not come, only: {self.rest.decode(errors='replace')}")


def type_line(fd, text):
    os.write(fd, text + b"\r")


child, fd = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
resize(fd, 33, 99)
screen = Screen(fd)
screen.until(b"# ")
# what is typed is echoed: the answer must not look like the question
type_line(fd, b"echo $((40 + 2)); stty size")
screen.until(b"42")
screen.until(b"33 99")
screen.until(b"# ")
type_line(fd, b"sleep 1000; echo still $((6 * 7))")
time.sleep(1)
os.write(fd, b"\x03")
screen.until(b"# ")
resize(fd, 20, 50)
# the guest hears of it a moment later
type_line(fd, b"until test $(stty size | tr ' ' x) = 20x50; do sleep 0.1; done; echo resized-$((1 + 1))")
screen.until(b"resized-2")
screen.until(b"# ")
type_line(fd, b"exit 4")
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
