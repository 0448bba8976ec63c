# SPDX-License-Identifier: Apache-2.0
"""What must be true whenever things have come to rest, whatever happened before."""

import collections
import os
import re
import sqlite3
import time

from fleet import IMAGE
from protect import PATIENCE, RUNNER, SERVICES, Broken, Client, descriptors, is_emulated, memory_kib, must, named, processes, protect, read, rows, say, wait_until

UIDS = range(200000, 200000 + 65536)
STATE = "/var/lib/protect"
STORE = "/var/lib/protect-storage"
TAP = re.compile(r"pz\d+n\d+")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MEMORY_KIB_MAX = 48 * 1024  # of a service, written by itself: five rings of logs, SQLite's cache
DESCRIPTORS_MAX = {"protect-daemon": 24, "protect-launch": 16, "protect-storage": 40, "protect-network": 24}
DESCRIPTORS_A_ZONE = 12
REST_S = 10


def expect(what, found, wanted):
    if found != wanted:
        raise Broken(f"{what}: {sorted(found - wanted)} too many, {sorted(wanted - found)} missing")


def namespaces(pids):
    """All of these processes', as the kernel names them."""
    found = set()
    for pid in pids:
        for kind in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                pass  # it has ended
    return found


class Invariants:
    """Compares with what there was before any zone."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.links = set(os.listdir("/sys/class/net"))
        self.namespaces = namespaces(p.pid for p in processes())
        self.mounts = collections.Counter(read("/proc/mounts").splitlines())
        self.images, self.works = set(), set()

    def uuids(self):
        return {zone.uuid for zone in self.fleet.zones}

    def zones(self):
        """Neither lost nor doubled, in the list and in the database."""
        listed = rows("zone")
        if len({z["name"] for z in listed}) != len(listed):
            raise Broken("two zones have one name")
        expect("zones", {z["uuid"] for z in listed}, self.uuids())
        for row in listed:
            if row["state"] != "ready":
                raise Broken(f"zone {row['name']} is {row['state']} ({row['reason']})")
        works = rows("workload")
        self.works = {work["uuid"] for work in works}
        expect("workloads", {w["name"] for w in works}, {zone.workload for zone in self.fleet.zones})
        for work in works:
            if work["state"] != "running":
                raise Broken(f"workload {work['name']} is {work['state']} ({work['reason']})")
        self.database({z["uuid"]: "zones" for z in listed} | {w["uuid"]: "workloads" for w in works})

    @staticmethod
    def database(rows_wanted):
        db = sqlite3.connect(f"file:{STATE}/daemon.db?mode=ro", uri=True, timeout=10)
        try:
            said = db.execute("PRAGMA integrity_check").fetchall()
            found = {uuid: table for table in ("zones", "workloads") for (uuid,) in db.execute(f"SELECT uuid FROM {table}")}
        finally:
            db.close()
        if said != [("ok",)]:
            raise Broken(f"the database is damaged: {said}")
        expect("rows", set(found.items()), set(rows_wanted.items()))

    def runners(self):
        """One process a zone, with a user of its own; nobody else has one of these users."""
        pids = {zone.runner() for zone in self.fleet.zones}
        among = processes()
        expect("runners", set(named(RUNNER, among)), pids)
        users = collections.Counter(p.uid for p in among if p.pid in pids)
        if max(users.values(), default=0) > 1 or not all(uid in UIDS for uid in users):
            raise Broken(f"users of runners: {dict(users)}")
        # A runner's first process waits for the one in its namespace.
        kin = pids | {p.parent for p in among if p.pid in pids}
        for process in among:
            if process.uid in UIDS and process.pid not in kin and process.parent not in pids:
                raise Broken(f"process {process.pid} ({process.name}) has a zone's user")

    def leftovers(self):
        """Control groups, files, sockets, links, mounts, images. After zones()."""
        groups = {UUID.search(path.split("/")[-1]).group() for path, _, _ in os.walk("/sys/fs/cgroup") if UUID.search(path.split("/")[-1])}
        expect("control groups", groups, self.uuids())
        expect("folders", set(os.listdir("/run/protect/zones")), self.uuids())
        sockets = {UUID.search(line).group() for line in read("/proc/net/unix").splitlines() if "/zones/" in line and UUID.search(line)}
        expect("sockets", sockets, self.uuids())
        self.network()
        mounts = collections.Counter(read("/proc/mounts").splitlines())
        expect("mounts", set((mounts - self.mounts).elements()), set())
        expect("images", {row["digest"] for row in rows("image")}, self.images)
        expect("kept logs", set(os.listdir(f"{STATE}/logs")), self.works | self.uuids())
        expect("files under construction", set(os.listdir(f"{STORE}/tmp")), set())

    def network(self):
        """A link for each zone, if links are made here at all, and no other."""
        links = set(os.listdir("/sys/class/net"))
        taps = {link for link in links if TAP.fullmatch(link)}
        expect("network links", links - taps, self.links)
        wanted = len(self.fleet.zones) if named("protect-network") else 0
        if len(taps) != wanted:
            raise Broken(f"{len(taps)} links of {wanted} zones: {sorted(taps)}")

    def spaces(self):
        """A namespace that nobody had before is a runner's, or has gone with it."""
        among = processes()
        zones = {p.pid for p in among if p.uid in UIDS}
        zones |= {p.parent for p in among if p.pid in zones}
        left = namespaces(p.pid for p in among if p.pid not in zones) - self.namespaces
        if left:
            raise Broken(f"namespaces that no zone has: {sorted(left)}")

    def store(self):
        """What storage's database knows is there as files, and nothing else is."""
        db = sqlite3.connect(f"file:{STORE}/store.db?mode=ro", uri=True, timeout=10)
        try:
            said = db.execute("PRAGMA integrity_check").fetchall()
            found = {row[0].removeprefix("sha256:") for row in db.execute("SELECT manifest FROM images")}
        finally:
            db.close()
        if said != [("ok",)]:
            raise Broken(f"the store's database is damaged: {said}")
        expect("images in the store's database", found, {row["digest"].removeprefix("sha256:") for row in rows("image")})

    def services(self):
        """Alive, once, and of bounded size; none of their helpers is left."""
        among = processes()
        for helper in ("mksquashfs", "unsquashfs"):
            expect(f"processes {helper}", set(named(helper, among)), set())
        for name in SERVICES:
            pids = named(name, among)
            room = DESCRIPTORS_MAX[name] + DESCRIPTORS_A_ZONE * len(self.fleet.zones)
            if len(pids) != 1:
                raise Broken(f"{len(pids)} processes {name}")
            if descriptors(pids[0]) > room:
                raise Broken(f"{name} has {descriptors(pids[0])} descriptors, more than {room}")
            if memory_kib(pids[0]) > MEMORY_KIB_MAX:
                raise Broken(f"{name} has {memory_kib(pids[0])} KiB for itself, more than {MEMORY_KIB_MAX}")

    def ask_ticks(self):
        return {zone: Client("workload", "logs", zone.workload) for zone in self.fleet.zones}

    @staticmethod
    def ticks(clients):
        """How far each workload's output has come."""
        found = {zone: re.findall(r"^tick (\d+)$", client.result().out, re.M) for zone, client in clients.items()}
        return {zone: int(lines[-1]) if lines else 0 for zone, lines in found.items()}

    def runs_a_command(self, zone, client):
        """A daemon that has just started may have to connect to the zone first."""
        until = time.monotonic() + REST_S * PATIENCE
        while (result := client.result()).out.strip() != "here":
            if time.monotonic() > until:
                raise Broken(f"zone {zone.name} does not run a command: {result}")
            time.sleep(0.2)
            client = self.echo(zone)

    @staticmethod
    def echo(zone):
        return Client("zone", "exec", zone.name, "--", "echo", "here")

    def ask_all(self):
        return {zone: self.echo(zone) for zone in self.fleet.zones}

    def answers(self, clients):
        """Every zone runs a command."""
        for zone, client in clients.items():
            try:
                self.runs_a_command(zone, client)
            except Broken:
                if not self.fleet.note_lost(zone):
                    raise

    def goes_on(self, before):
        """Every workload does; those of a zone that was replaced meanwhile have begun anew."""
        behind = {zone.name for zone, ticks in self.ticks(self.ask_ticks()).items() if ticks <= before.get(zone.uuid, 0)}
        if behind:
            raise Broken(f"workloads stand still in {behind}")

    @staticmethod
    def new_workload(zone):
        """New launches work. A guest on an emulated host may need longer to see a disk than its agent waits."""
        for _ in range(5 if is_emulated() else 1):
            result = protect("workload", "launch", "--zone", zone.name, "--name", "extra-work", "--attach", IMAGE, "--", "echo", "new")
            if "did not appear in the zone" not in result.err:
                break
            say(f"zone {zone.name} was too slow for a new disk")
        if result.out.strip() != "new":
            raise Broken(f"a new workload in zone {zone.name}: {result}")
        must("workload", "destroy", "-W", "extra-work")

    def leftovers_at_end(self):
        self.images = {row["digest"] for row in rows("image")}
        self.leftovers()
        expect("runners", set(named(RUNNER)), set())

    def check(self, some_zone):
        """All of it. What needs a moment to come to rest has REST_S. Returns how long each part took."""
        times, echoes = Times(), self.ask_all()
        before = {zone.uuid: ticks for zone, ticks in self.ticks(self.ask_ticks()).items()}
        times.note("outputs")
        self.answers(echoes)
        times.note("execs")
        try:
            self.new_workload(some_zone)
        except Broken:
            if not self.fleet.note_lost(some_zone):
                raise
        times.note("a new workload")
        for what in (self.zones, self.runners, self.leftovers, self.spaces, self.store, self.services):
            wait_until(REST_S, what.__name__, lambda w=what: w() is None)
            times.note(what.__name__)
        wait_until(REST_S, "workloads go on", lambda: self.goes_on(before) is None)
        times.note("outputs go on")
        return times


class Times:
    """What was looked at, and how long it took."""

    def __init__(self):
        self.parts, self.since = [], time.monotonic()

    def note(self, what):
        now = time.monotonic()
        self.parts.append(f"{what} {now - self.since:.1f}")
        self.since = now

    def __str__(self):
        return ", ".join(self.parts)
