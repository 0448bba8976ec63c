#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""half_close.py ADDRESS PORT BYTES: sends, ends its way, and says "same" if all of it came back after that."""
import os
import socket
import sys
import threading

sent = os.urandom(int(sys.argv[3]))
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as peer:

    def send():
        peer.sendall(sent)
        peer.shutdown(socket.SHUT_WR)

    threading.Thread(target=send).start()
    got = b""
    while data := peer.recv(65536):
        got += data
print("same" if got == sent else f"{len(got)} of {len(sent)} bytes")
