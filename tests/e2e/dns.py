#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""dns.py ADDRESS: a name server that says 192.0.2.77 (and nothing else) to everybody who asks for an address."""
import socket
import struct
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    query, peer = server.recvfrom(512)
    end = query.index(0, 12) + 5  # behind name, type and class
    question = query[12:end]
    wanted = struct.unpack(">H", question[-4:-2])[0]
    answer = b""
    if wanted == 1:
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("192.0.2.77")
    header = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1 if answer else 0, 0, 0)
    server.sendto(header + question + answer, peer)
