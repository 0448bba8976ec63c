# SPDX-License-Identifier: Apache-2.0
"""The command line of Protect, and what a host shows of Protect's processes."""

import collections
import json
import os
import subprocess
import time

RUNNER = "zone-vmm"
COMMAND_S = 60


def read(path, default=""):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return default


def is_emulated():
    return "QEMU" in read("/sys/class/dmi/id/sys_vendor")


# Time passes several times slower on an emulated host, more so when others use the machine: only a failure takes this long.
PATIENCE = 4 if is_emulated() else 1


class Broken(Exception):
    """Something is not as it must be."""


def say(text):
    print(f"# {time.monotonic():8.1f} {text}", flush=True)


def wait_until(seconds, what, check):
    """Until check() is true (it may raise Broken, too, to say why not); Broken when the time is up."""
    seconds *= PATIENCE
    until = time.monotonic() + seconds
    why = ""
    while True:
        try:
            value = check()
            if value:
                return value
        except Broken as broken:
            why = f": {broken}"
        if time.monotonic() > until:
            raise Broken(f"in vain for {seconds} s: {what}{why}")
        time.sleep(0.1)


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def ok(self):
        return self.status == 0

    def __str__(self):
        return f"status {self.status}: {self.err.strip() or self.out.strip()[:200]}"


class Client:
    """One run of `protect`, in the background until result() is asked for."""

    def __init__(self, *arguments):
        self.arguments = arguments
        self.process = subprocess.Popen(("protect",) + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, errors="replace")

    def result(self, seconds=COMMAND_S):
        seconds *= PATIENCE
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Broken(f"protect {' '.join(self.arguments)}: nothing after {seconds} s") from None
        return Result(self.process.returncode, out, err)

    def kill(self):
        self.process.kill()
        self.process.communicate()


def protect(*arguments, seconds=COMMAND_S):
    return Client(*arguments).result(seconds)


def must(*arguments, seconds=COMMAND_S):
    result = protect(*arguments, seconds=seconds)
    if not result.ok:
        raise Broken(f"protect {' '.join(arguments)}: {result}")
    return result.out.strip()


def check_refusal(result, what):
    """A request that failed says why, in one line, and did not crash."""
    lines = result.err.strip().splitlines()
    if result.status < 0 or result.status > 125 or len(lines) != 1:
        raise Broken(f"{what} failed without a clear line: {result}")


def all_answer():
    """Whether the daemon does, and finds the other services."""
    result = protect("host", "status", seconds=10)
    return result.ok and "DOWN" not in result.out


def rows(kind):
    return json.loads(must(kind, "list", "-o", "json"))


Process = collections.namedtuple("Process", "pid name state parent uid")


def status_of(pid):
    """What there is of a process, or None."""
    fields = dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":" in line)
    if "Uid" not in fields:
        return None
    return Process(int(pid), fields["Name"].strip(), fields["State"].split()[0], int(fields["PPid"]), int(fields["Uid"].split()[0]))


def processes():
    """All that live, in one pass: each look into /proc costs time on an emulated host."""
    found = [status_of(name) for name in os.listdir("/proc") if name.isdigit()]
    return [process for process in found if process and process.state != "Z"]


def named(name, among=None):
    """Process ids of this name, the oldest first. A process has 15 letters of its name."""
    return sorted(p.pid for p in (processes() if among is None else among) if p.name == name[:15])


def state(pid):
    process = status_of(pid)
    return process.state if process else ""


def service(name):
    """The process of a service: storage has children of the same name for a moment."""
    return wait_until(10, f"a process {name}", lambda: (named(name) or [0])[0])


def descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def memory_kib(pid):
    """What it has for itself: shared pages of its program are not its."""
    for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    return 0


# A host may do without the service that makes zones' links.
SERVICES = ("protect-daemon", "protect-launch", "protect-storage") + (("protect-network",) if named("protect-network") else ())
