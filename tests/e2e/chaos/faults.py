# SPDX-License-Identifier: Apache-2.0
"""The faults. Each is a function of the run (chaos.py) that does its harm, ends it, and says what must be true at once."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time

from invariants import STATE, STORE
from protect import SERVICES, Broken, Client, all_answer, check_refusal, descriptors, must, protect, read, service, state, wait_until

FAULTS = []
SOCKET = "/run/protect/daemon.sock"


def fault(function):
    FAULTS.append(function)
    return function


def kill(name):
    pid = service(name)
    os.kill(pid, signal.SIGKILL)
    wait_until(10, f"another {name}", lambda: service(name) != pid)


@fault
def kill_a_runner(run):
    zone = run.choose_zone()
    os.kill(zone.runner(), signal.SIGKILL)
    run.fleet.wait_failed(zone)
    run.replaced = zone
    run.fleet.replace(zone)


@fault
def kill_the_daemon(run):
    """Clients that are attached are told so; the workloads do not notice (invariants)."""
    zone = run.choose_zone()
    clients = [Client("zone", "exec", zone.name, "--", "sleep", "1000"), Client("workload", "logs", "-f", zone.workload)]
    time.sleep(0.7)
    kill("protect-daemon")
    for client in clients:
        result = client.result(10)
        if result.ok or "daemon" not in result.err.splitlines()[-1]:
            raise Broken(f"a client of the dead daemon ({client.arguments}): {result}")


@fault
def kill_launch(_run):
    kill("protect-launch")


@fault
def kill_storage(_run):
    kill("protect-storage")


@fault
def kill_everything(run):
    """All services at once, and a runner: its end is found by daemons that never knew it."""
    zone = run.choose_zone()
    pids = [zone.runner()] + [service(name) for name in SERVICES]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(20, "another daemon answers", lambda: service("protect-daemon") != pids[1] and protect("zone", "list").ok)
    row = wait_until(20, "the runner's end is found", lambda: [z for z in run.zone_rows() if z["uuid"] == zone.uuid and z["state"] == "failed"])
    if not row[0]["reason"]:
        raise Broken(f"zone {zone.name} failed without a reason")
    wait_until(30, "all services answer", all_answer)
    run.fleet.replace(zone)


def stop_for_a_while(run, pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(run.random.uniform(0.2, 2.5))
        if state(pid) != "T":
            raise Broken(f"process {pid} did not stop: {state(pid)}")
    finally:
        os.kill(pid, signal.SIGCONT)


@fault
def stop_a_runner(run):
    stop_for_a_while(run, run.choose_zone().runner())


@fault
def stop_a_service(run):
    """With requests under way, which go on when it does."""
    pid = service(run.random.choice(SERVICES))
    clients = start_poking(run)
    time.sleep(run.random.uniform(0, 0.5))
    stop_for_a_while(run, pid)
    end_poking(clients)


@contextlib.contextmanager
def full(folder):
    """The file system of a folder without a byte left."""
    path = os.path.join(folder, "chaos-filler")
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M"], stderr=subprocess.DEVNULL, check=False)
    with contextlib.suppress(OSError), open(path, "ab", buffering=0) as file:
        while True:
            file.write(bytes(512))
    try:
        yield
    finally:
        os.unlink(path)


def try_to_launch(run, name="extra"):
    """A launch that may fail, but then says why and leaves nothing; one that is reported is destroyed again."""
    result = protect("zone", "launch", "--name", name, "--max-memory", "128")
    if not result.ok:
        check_refusal(result, "a launch")
    run.gone.append(name)
    return result


@fault
def full_state(run):
    with full(STATE):
        result = try_to_launch(run)
        if result.ok:  # the database had a page to spare: then it is there for good
            kill("protect-daemon")
            wait_until(20, "the zone is known after all", lambda: any(z["name"] == "extra" for z in run.zone_rows()))
        elif "space" not in result.err and "full" not in result.err:
            raise Broken(f"a launch on a full disk: {result}")
        if must("zone", "exec", run.choose_zone().name, "--", "echo", "there") != "there":
            raise Broken("an exec needs a disk")
        if run.random.random() < 0.5:  # and what ends then is noted later
            victim = run.choose_zone()
            os.kill(victim.runner(), signal.SIGKILL)
            run.fleet.wait_failed(victim)
            must("zone", "destroy", "-W", victim.name)
            run.to_launch.append(victim)
        if run.random.random() < 0.3:
            kill("protect-daemon")


@fault
def full_store(run):
    with full(STORE):
        result = protect("image", "import", run.other_layout, "--name", "chaos/other:1")
        if result.ok:
            raise Broken("an import into a full store went well")
        check_refusal(result, "an import into a full store")
        if "space" not in result.err and "full" not in result.err:
            raise Broken(f"an import into a full store: {result}")
        if run.random.random() < 0.3:
            kill("protect-storage")


@fault
def hanging_disk(run):
    """The state's file system takes no write for a while, as a disk does that hangs."""
    subprocess.run(["fsfreeze", "-f", STATE], check=True)
    try:
        client = Client("zone", "launch", "--name", "extra", "--max-memory", "128")
        time.sleep(run.random.uniform(0.5, 2))
    finally:
        subprocess.run(["fsfreeze", "-u", STATE], check=True)
    run.gone.append("extra")
    result = client.result()
    if not result.ok:
        check_refusal(result, "a launch while the disk hung")


@fault
def vanishing_clients(run):
    zone = run.choose_zone()
    clients = [
        Client("zone", "exec", zone.name, "--", "yes"), Client("zone", "logs", "-f", zone.name),
        Client("workload", "logs", "-f", zone.workload), Client("image", "import", run.other_layout, "--name", "chaos/other:1"),
        Client("workload", "exec", zone.workload, "--", "sleep", "1000"), Client("zone", "launch", "--name", "extra", "--max-memory", "128", "--wait")]
    time.sleep(run.random.uniform(0.05, 1))
    for client in clients:
        client.process.kill()
    for client in clients:
        client.kill()
    run.gone.append("extra")


@fault
def rude_connections(run):
    """More connections than there are places, with nothing, half a packet or noise on them."""
    connections = []
    for _ in range(run.random.randrange(5, 100)):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(2)
        with contextlib.suppress(OSError):
            connection.connect(SOCKET)
            connection.send(run.random.choice((b"", b"\x10\x00", run.random.randbytes(200), b"\xff" * 64)))
        connections.append(connection)
    time.sleep(0.3)
    for connection in connections:
        connection.close()


@contextlib.contextmanager
def limited(pid, kind, value):
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, kind, before)


def start_poking(run):
    """What a person does."""
    zone = run.choose_zone()
    run.gone.append("extra")
    run.work_gone.append("extra-work")
    return [
        Client("zone", "exec", zone.name, "--", "true"), Client("workload", "launch", "--zone", zone.name, "--name", "extra-work", "chaos/load:1"),
        Client("zone", "launch", "--name", "extra", "--max-memory", "128"), Client("workload", "logs", zone.workload)]


def end_poking(clients):
    """All of it may have failed, with a word."""
    for client in clients:
        result = client.result()
        if not result.ok:
            check_refusal(result, " ".join(client.arguments))


def poke(run):
    end_poking(start_poking(run))


@fault
def no_descriptors(run):
    name = run.random.choice(SERVICES)
    pid = service(name)
    with limited(pid, resource.RLIMIT_NOFILE, descriptors(pid) + run.random.randrange(0, 6)):
        if name == "protect-daemon":  # without any, nobody gets in: they wait
            clients = [Client("zone", "exec", run.choose_zone().name, "--", "true") for _ in range(3)]
            time.sleep(1.5)
        else:
            poke(run)
    if name == "protect-daemon":
        for client in clients:
            result = client.result()
            if not result.ok:
                check_refusal(result, "a client that waited for a place")


@fault
def no_memory(run):
    """No page more for a service than it has: it may refuse, it may even end, but it comes again and nothing is lost."""
    pid = service(run.random.choice(SERVICES))
    vm_kib = int([line.split()[1] for line in read(f"/proc/{pid}/status").splitlines() if line.startswith("VmSize")][0])
    with limited(pid, resource.RLIMIT_AS, (vm_kib + run.random.choice((0, 64, 256))) * 1024):
        poke(run)


@fault
def clock_jumps(run):
    """By hours, forward or back: nothing ends for it, and zones follow."""
    jump = run.random.choice((-1, 1)) * run.random.randrange(600, 100000)
    zone = run.choose_zone()
    set_clock(jump)
    try:
        wait_until(20, f"zone {zone.name} follows the clock", lambda: abs(int(must("zone", "exec", zone.name, "--", "date", "+%s")) - time.time()) < 20)
    finally:
        set_clock(-jump)


def set_clock(jump_s):
    time.clock_settime(time.CLOCK_REALTIME, time.time() + jump_s)


@fault
def kill_in_the_middle(run):
    """A process dies while something is under way."""
    zone = run.choose_zone()
    name = run.random.choice(SERVICES)
    arguments = run.random.choice((
        ("zone", "launch", "--name", "extra", "--max-memory", "128", "--wait"),
        ("image", "import", run.other_layout, "--name", "chaos/other:1"),
        ("workload", "launch", "--zone", zone.name, "--name", "extra-work", "--wait", run.other_layout, "--", "sleep", "1000"),
    ))
    client = Client(*arguments)
    time.sleep(run.random.uniform(0, 1.5))
    kill(name)
    result = client.result()
    run.gone.append("extra")
    run.work_gone.append("extra-work")
    if not result.ok:
        check_refusal(result, " ".join(arguments))
