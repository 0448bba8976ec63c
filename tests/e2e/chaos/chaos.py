#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Zones under load, seeded random faults one after the other, and after each all invariants (see 90-chaos.bats).

A round is a fleet of its own, and its faults follow from the seed and its number alone. Who lost the emulated host in the middle goes
on with the next one: a finished round says "# done: chaos-SEED-ROUND", and those in E2E_DONE are left out (tests/e2e/run).

CHAOS_SEED=N       the same faults again (default: that of the rounds in E2E_DONE, else by the clock)
CHAOS_ROUNDS=N     how many rounds (default 1), or N-M: only these
CHAOS_FAULTS=N     how many a round (default 20), or their names with commas: only these, in this order
CHAOS_ZONES=N      how many zones (default 5)
"""

import os
import random
import re
import sys
import time
import traceback

from faults import FAULTS
from fleet import Fleet
from invariants import Invariants
from protect import Broken, all_answer, must, protect, rows, say, wait_until

LOST_A_FAULT = 0.1  # see Fleet.note_lost()


class Run:
    """One round."""

    def __init__(self, seed, number, layouts):
        self.random = random.Random(f"{seed}/{number}")
        self.layout, self.other_layout = layouts
        self.fleet = Fleet(int(os.environ.get("CHAOS_ZONES", "5")))
        self.to_launch = []  # zones that a fault took out of the fleet
        self.gone, self.work_gone = [], []  # what a fault may have made, by name

    def choose_zone(self):
        return self.random.choice([zone for zone in self.fleet.zones if zone not in self.to_launch])

    @staticmethod
    def zone_rows():
        return rows("zone")

    def clean_up(self):
        """Whatever came of what the fault tried: it can be destroyed, and is gone then."""
        for kind, names in (("zone", self.gone), ("workload", self.work_gone)):
            for name in names:
                if any(row["name"] == name for row in rows(kind)):
                    protect(kind, "destroy", "-W", name)
            left = {row["name"] for row in rows(kind)} & set(names)
            if left:
                raise Broken(f"cannot be destroyed: {left}")
            names.clear()
        for row in rows("image"):
            if row["digest"] not in self.invariants.images:
                must("image", "remove", row["digest"])
        self.fleet.launch(self.to_launch)
        self.to_launch.clear()

    def unless_lost(self, what):
        """Once more, if it failed because the emulated host had lost a zone."""
        try:
            return what()
        except Broken as broken:
            if not self.fleet.note_any_lost():
                raise
            say(f"once more, after: {broken}")
            self.clean_up()
            return what()

    def one_fault(self, number, fault):
        started = time.monotonic()
        say(f"fault {number}: {fault.__name__}")
        self.unless_lost(lambda: fault(self))
        done = time.monotonic()
        wait_until(30, "all services answer", all_answer)
        self.clean_up()
        clean = time.monotonic()
        times = self.unless_lost(lambda: self.invariants.check(self.choose_zone()))
        say(f"fault {number}: {fault.__name__}: held; {done - started:.1f} s of fault, {clean - done:.1f} s until "
            f"all was up; seconds of looking: {times}")

    def diagnose(self):
        """All there is to see, for whoever reads a run that broke."""
        print(protect("zone", "list").out, protect("workload", "list").out, sep="")
        for zone in self.fleet.zones:
            for command in (("host", "hv-console", zone.name), ("host", "hv-debug-info", zone.name),
                            ("zone", "exec", zone.name, "--", "sh", "-c", "dmesg | tail -n 30; ps; ls -l /dev/vd*; cat /proc/loadavg")):
                print("$ protect", *command[:3])
                try:
                    print(protect(*command, seconds=20).out[-1500:])
                except Broken as broken:
                    print(broken)

    def all_faults(self, faults):
        self.fleet.start(self.layout)
        self.invariants.images = {row["digest"] for row in rows("image")}
        self.invariants.check(self.choose_zone())
        for number, fault in enumerate(faults, 1):
            self.one_fault(number, fault)
            if self.fleet.lost > max(2, LOST_A_FAULT * number):
                raise Broken(f"{self.fleet.lost} zones stood still in {number} faults")
        self.fleet.stop()
        self.fleet.zones.clear()
        for what in (self.invariants.zones, self.invariants.leftovers_at_end):
            wait_until(10, "nothing is left", lambda w=what: w() is None)


def choose_faults(run, wanted):
    by_name = {fault.__name__: fault for fault in FAULTS}
    if not wanted.isdigit():
        return [by_name[name] for name in wanted.split(",")]
    faults = []
    while len(faults) < int(wanted):  # each as often as the others, in a random order
        faults += run.random.sample(FAULTS, len(FAULTS))
    return faults[: int(wanted)]


def choose_rounds(wanted):
    first, _, last = wanted.rpartition("-")
    return range(int(first or 1), int(last) + 1)


def choose_seed(done):
    wanted = os.environ.get("CHAOS_SEED") or next(iter(seed for seed, _ in done), int(time.time()))
    return int(wanted)


def rounds_done():
    """(seed, number) of those that an earlier boot of the emulated host has finished."""
    return {tuple(map(int, match)) for match in re.findall(r"chaos-(\d+)-(\d+)", os.environ.get("E2E_DONE", ""))}


def one_round(seed, number, layouts):
    """Returns how many faults held."""
    wanted = os.environ.get("CHAOS_FAULTS") or "20"
    run = Run(seed, number, layouts)
    faults = choose_faults(run, wanted)
    say(f"seed {seed}, round {number}: {len(run.fleet.zones)} zones, {len(faults)} faults: {', '.join(f.__name__ for f in faults)}")
    started = time.monotonic()
    try:
        run.invariants = Invariants(run.fleet)
        run.all_faults(faults)
    except Exception as error:
        traceback.print_exception(error)
        run.diagnose()
        say(f"BROKEN: {error}")
        say(f"again: CHAOS_SEED={seed} CHAOS_ROUNDS={number}-{number} CHAOS_FAULTS={wanted}")
        raise
    say(f"seed {seed}, round {number}: {len(faults)} of {len(faults)} faults, all invariants held, {time.monotonic() - started:.0f} s; "
        f"{run.fleet.lost} zones lost by the emulated host")
    return len(faults)


def main(layouts):
    done, held = rounds_done(), 0
    seed, rounds = choose_seed(done), choose_rounds(os.environ.get("CHAOS_ROUNDS") or "1")
    for number in rounds:
        if (seed, number) in done:
            say(f"seed {seed}, round {number}: held before")
            continue
        try:
            held += one_round(seed, number, layouts)
        except Exception:
            return 1
        print(f"# done: chaos-{seed}-{number}", flush=True)
    say(f"seed {seed}: {held} faults in {len(rounds)} rounds, all invariants held")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:3]))
