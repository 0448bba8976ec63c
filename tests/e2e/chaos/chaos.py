#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Zones under load, seeded random faults one after the other, and after each all invariants (see 90-chaos.bats).

CHAOS_SEED=N       the same faults again (default: by the clock)
CHAOS_FAULTS=N     how many (default 20), or their names with commas: only these, in this order
CHAOS_ZONES=N      how many zones (default 5)
"""

import os
import random
import sys
import time
import traceback

from faults import FAULTS
from fleet import Fleet
from invariants import Invariants
from protect import Broken, all_answer, must, protect, rows, say, wait_until

LOST_A_FAULT = 0.1  # see Fleet.note_lost()


class Run:
    def __init__(self, seed, layouts):
        self.random = random.Random(seed)
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

    def one_fault(self, number, fault):
        started = time.monotonic()
        say(f"fault {number}: {fault.__name__}")
        fault(self)
        done = time.monotonic()
        wait_until(30, "all services answer", all_answer)
        self.clean_up()
        clean = time.monotonic()
        self.invariants.check(self.choose_zone())
        say(f"fault {number}: {fault.__name__}: held; {done - started:.1f} s of fault, {clean - done:.1f} s until "
            f"all was up, {time.monotonic() - clean:.1f} s of looking")

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


def main(layouts):
    seed, wanted = os.environ.get("CHAOS_SEED") or str(int(time.time())), os.environ.get("CHAOS_FAULTS") or "20"
    run = Run(int(seed), layouts)
    faults = choose_faults(run, wanted)
    say(f"seed {seed}: {len(faults)} faults, {len(run.fleet.zones)} zones")
    try:
        run.invariants = Invariants(run.fleet)
        run.all_faults(faults)
    except Exception as error:
        traceback.print_exception(error)
        run.diagnose()
        say(f"BROKEN: {error}")
        say(f"again: CHAOS_SEED={seed} CHAOS_FAULTS={wanted}")
        return 1
    say(f"{len(faults)} of {len(faults)} faults, all invariants held; {run.fleet.lost} zones lost by the emulated host")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:3]))
