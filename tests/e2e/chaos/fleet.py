# SPDX-License-Identifier: Apache-2.0
"""The zones that the test believes in: each has a workload that loads it, and each is known by its UUID."""

import glob
import time

from protect import Broken, Client, is_emulated, must, protect, read, rows, say, wait_until

MEMORY_MIB = 128
READY_S = 120
IMAGE = "chaos/load:1"
# CPU, disk (the image is a disk of the zone), output: every turn some, so that five of them leave the host time.
LOAD = """i=0
while :; do
	i=$((i + 1))
	echo "tick $i"
	md5sum /bin/busybox >/tmp/sum
	dd if=/dev/zero of=/tmp/file bs=64k count=8 2>/dev/null
	sleep 2
done"""
# As the zone itself: past all caches from its disk, and onto the console.
ZONE_LOAD = """i=0
while :; do
	i=$((i + 1))
	echo "console $i" >/dev/hvc0
	for d in /dev/vd[ab]; do dd if=$d of=/dev/null bs=64k count=16 iflag=direct; done
	sleep 4
done"""


class Zone:
    def __init__(self, name):
        self.name = name
        self.workload = f"{name}-load"
        self.uuid = None

    def launch(self):
        return Client("zone", "launch", "--name", self.name, "--wait", "--max-memory", str(MEMORY_MIB), "--max-cpus", "1")

    def load(self):
        must("workload", "launch", "--zone", self.name, "--name", self.workload, "--wait", IMAGE, "--", "sh", "-c", LOAD)
        must("zone", "exec", self.name, "--", "sh", "-c", f"setsid sh -c '{ZONE_LOAD}' </dev/null >/dev/null 2>&1 &")

    def group(self):
        """Its control group's folder."""
        found = [path for path in glob.glob("/sys/fs/cgroup/**/", recursive=True) if self.uuid in path.rstrip("/").split("/")[-1]]
        if len(found) != 1:
            raise Broken(f"zone {self.name} has {len(found)} control groups")
        return found[0]

    def runner(self):
        """The process id of its runner."""
        pids = [int(pid) for pid in read(self.group() + "cgroup.procs").split()]
        found = [pid for pid in pids if read(f"/proc/{pid}/comm").strip() == "zone-vmm"]
        if len(found) != 1:
            raise Broken(f"zone {self.name} has {len(found)} runners")
        return found[0]

    def cpu_us(self):
        return int(read(self.group() + "cpu.stat").split()[1])

    def is_lost(self):
        """What the emulated host does to a guest now and then: its virtual CPU does nothing though its monitor answers, or it has
        died of a fault that nobody made."""
        if any(z["uuid"] == self.uuid and z["reason"] == "triple-fault" for z in rows("zone")):
            return True
        if not protect("host", "hv-debug-info", self.name, seconds=20).ok:
            return False
        before = self.cpu_us()
        time.sleep(4)
        return self.cpu_us() - before < 40000


class Fleet:
    def __init__(self, count):
        self.zones = [Zone(f"chaos-{i}") for i in range(count)]
        self.lost = 0

    def launch(self, zones):
        """Launches them side by side, with their loads."""
        clients = [zone.launch() for zone in zones]
        for zone, client in zip(zones, clients):
            self.take(zone, client.result(READY_S))

    def take(self, zone, result):
        """A zone that was launched, with its load; another, where the emulated host lost it meanwhile."""
        found = [row["uuid"] for row in rows("zone") if row["name"] == zone.name]
        zone.uuid = found[0] if found else None
        try:
            if not result.ok:
                raise Broken(f"zone {zone.name} was not launched: {result}")
            zone.load()
        except Broken:
            if not found or not self.note_lost(zone):
                raise

    def start(self, layout):
        must("image", "import", layout, "--name", IMAGE)
        self.launch(self.zones)

    def replace(self, zone):
        must("zone", "destroy", "-W", zone.name)
        self.launch([zone])

    def wait_failed(self, zone):
        """A zone whose runner was killed is failed, says so, and holds nothing."""

        def is_failed():
            row = [z for z in rows("zone") if z["uuid"] == zone.uuid]
            if not row:
                raise Broken(f"zone {zone.name} is lost")
            return row[0] if row[0]["state"] == "failed" else None

        row = wait_until(10, f"zone {zone.name} fails", is_failed)
        # A protect-launch that was restarted since cannot tell the signal.
        if "killed" not in row["reason"]:
            raise Broken(f"zone {zone.name} failed because of '{row['reason']}', and not because it was killed")

    def stop(self):
        names = {zone.name for zone in self.zones}
        for row in rows("zone"):
            if row["name"] in names or row["name"].startswith("extra"):
                protect("zone", "destroy", "-W", row["name"])
        protect("image", "remove", IMAGE)

    def note_lost(self, zone):
        """One of many guests is lost on the emulated host (see tests/e2e/run): replaced, twice in 20 faults at most."""
        if not is_emulated() or not zone.is_lost():
            return False
        self.lost += 1
        say(f"LOST: zone {zone.name}: its virtual CPU stands still while its monitor answers, or had a triple fault; launched anew")
        self.replace(zone)
        return True

    def note_any_lost(self):
        return any([self.note_lost(zone) for zone in self.zones])
