# SPDX-License-Identifier: Apache-2.0
"""Ask one thing of a running runner (proto/runner.proto): python3 runner_request.py SOCKET WHAT [ARGUMENT…]

disk-attach SERIAL FILE, disk-detach SERIAL MILLISECONDS [force], disk-swap SERIAL FILE, disk-resize SERIAL,
nic-attach NAME MAC TAP, nic-detach NAME MILLISECONDS [force], nic-link NAME up|down, pause, resume

Exits with 0, or with 1 and the reply's errno and text on standard error. A tap is made if there is none; the runner holds it.
"""

import array
import errno
import fcntl
import os
import socket
import struct
import sys

MAGIC, CONTROL = 0x5A505255, 1  # base/runner.h
TIMEOUT_S = 60
TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x2, 0x1000, 0x4000
NUMBERS = {
    "disk-attach": 1, "disk-detach": 2, "disk-swap": 6, "disk-resize": 7, "nic-attach": 8, "nic-detach": 9,
    "pause": 11, "resume": 12, "nic-link": 15,
}


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def open_tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    return fd


def make_body(what, args):
    """The request's message, and descriptors to go with it."""
    body, fds = b"", []
    if args:
        body = text(1, args[0].encode())
    if what in ("disk-attach", "disk-swap"):
        fds = [os.open(args[1], os.O_RDWR)]
    elif what in ("disk-detach", "nic-detach"):
        body += number(2, int(args[1])) + number(3, int(args[2:] == ["force"]))
    elif what == "nic-attach":
        body += text(2, bytes(int(part, 16) for part in args[1].split(":")))
        fds = [open_tap(args[2])]
    elif what == "nic-link":
        body += number(2, int(args[1] == "up"))
    return body, fds


def read_varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def parse_reply(data):
    """error and text: the first two fields, if they are there."""
    error, words, at = 0, "", 0
    while at < len(data):
        key, at = read_varint(data, at)
        value, at = read_varint(data, at)
        if key == 1 << 3:
            error = value
        if key & 7 == 2:
            if key >> 3 == 2:
                words = data[at:at + value].decode()
            at += value
    return error, words


def receive(connection, n):
    data = b""
    while len(data) < n:
        part = connection.recv(n - len(data))
        if not part:
            sys.exit("the runner closed the connection")
        data += part
    return data


def main():
    path, what, args = sys.argv[1], sys.argv[2], sys.argv[3:]
    body, fds = make_body(what, args)
    frame = text(NUMBERS[what], body)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT_S)
    connection.connect(path)
    connection.sendall(struct.pack("<II", MAGIC, CONTROL))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    message = struct.pack("<I", len(frame)) + frame
    if connection.sendmsg([message], rights) != len(message):
        sys.exit("a short write")
    error, words = parse_reply(receive(connection, struct.unpack("<I", receive(connection, 4))[0]))
    if error:
        sys.exit(f"{errno.errorcode.get(error, error)}: {words}")


main()
