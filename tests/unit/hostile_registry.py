#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A registry on loopback that misbehaves as the first part of the repository's name says.

usage: hostile_registry.py LOG    prints its port; LOG gets a line for each request: HOST PATH RANGE AUTHORIZATION
"""
import base64
import hashlib
import http.server
import io
import json
import os
import sys
import tarfile
import threading
import time

LOGIN = "Basic " + base64.b64encode(b"user:secret").decode()
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data, media_type, **more):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def layer(number):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(f"file{number}")
        content = hashlib.shake_128(bytes([number])).digest(300000)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


blobs = {}
LAYERS = [layer(number) for number in range(5)]
CONFIG = json.dumps({"os": "linux", "architecture": "amd64", "config": {},
                     "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in LAYERS]}}).encode()
for blob in LAYERS + [CONFIG]:
    blobs[digest(blob)] = blob


def manifest(**more):
    return json.dumps({"schemaVersion": 2, "config": descriptor(CONFIG, "c"),
                       "layers": [descriptor(data, "l", **more) for data in LAYERS]}).encode()


def nest(depth):
    inner = manifest()
    for _ in range(depth):
        blobs[digest(inner)] = inner
        inner = json.dumps({"schemaVersion": 2, "manifests": [descriptor(inner, INDEX)]}).encode()
    return inner


def platform(os_name, architecture, variant=None):
    other = json.dumps({"schemaVersion": 2, "manifests": [descriptor(
        manifest(), MANIFEST, platform={"os": os_name, "architecture": architecture, "variant": variant})]})
    blobs[digest(manifest())] = manifest()
    return other.encode()


def special(kind, port):
    if kind == "nested":
        return nest(5)
    if kind == "index":
        return nest(2)
    if kind == "arm":
        return platform("linux", "arm64", "v8")
    if kind == "windows":
        return platform("windows", "amd64")
    if kind in ("variants", "v9"):  # the one that fits is the last but one; the others are nowhere
        blobs[digest(manifest())] = manifest()
        given = ["v4", "v3", None, "v2"] if kind == "variants" else ["v9"]
        return json.dumps({"schemaVersion": 2, "manifests": [descriptor(
            manifest() if variant is None else str(variant).encode(), MANIFEST,
            platform={"os": "linux", "architecture": "amd64", "variant": variant}) for variant in given]}).encode()
    if kind == "confused":
        return manifest()[:-1] + b',"manifests":[]}'
    if kind == "duplicate":
        return manifest()[:-1] + b',"layers":[]}'
    if kind == "few":
        return json.dumps({"schemaVersion": 2, "config": descriptor(CONFIG, "c"),
                           "layers": [descriptor(LAYERS[0], "l")]}).encode()
    if kind == "more":
        return json.dumps({"schemaVersion": 2, "config": descriptor(CONFIG, "c"),
                           "layers": [descriptor(data, "l") for data in LAYERS + [LAYERS[0]]]}).encode()
    if kind == "huge":
        return json.dumps({"schemaVersion": 2, "config": descriptor(CONFIG, "c"), "layers": [
            {"digest": digest(data), "size": (1 << 63) - 1} for data in LAYERS]}).encode()
    if kind == "negative":
        return manifest().replace(b'"size": ', b'"size": -')
    if kind == "foreign":
        return manifest(urls=[f"http://127.0.0.1:{port}/stolen"])
    if kind == "deep":
        return b'{"layers":' + b"[" * 100000
    return manifest()


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    cuts = {}
    token_uses = 0

    def log_message(self, *args):
        pass

    def note(self):
        with self.lock, open(sys.argv[1], "a", encoding="utf-8") as log:
            print(self.headers["Host"], self.path, self.headers["Range"] or "-",
                  self.headers["Authorization"] or "-", file=log)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def port(self):
        return self.server.server_address[1]

    def give_token(self):
        if self.headers["Authorization"] != LOGIN:
            return self.answer(403)
        Registry.token_uses = 0
        return self.answer(200, b'{"access_token":"abc","expires_in":60}')

    def may(self, kind):
        authorization = self.headers["Authorization"]
        if kind == "basic" and authorization != LOGIN:
            self.answer(401, WWW_Authenticate='Basic realm="x"')
            return False
        if kind in ("token", "realm"):
            host = "127.0.0.1" if kind == "token" else "localhost"
            with self.lock:
                Registry.token_uses += 1
                good = authorization == "Bearer abc" and Registry.token_uses <= 3
            if not good:  # a token is good for three requests
                self.answer(401, WWW_Authenticate=f'Bearer realm="http://{host}:{self.port()}/token",service="s"')
            return good
        return True

    def cut(self, name, times):
        with self.lock:
            n = Registry.cuts.get(name, 0)
            Registry.cuts[name] = n + 1
        return n < times

    def give_blob(self, kind, name):
        data = blobs.get(name)
        if data is None or (kind in ("foreign", "mirrored") and data in LAYERS):
            return self.answer(404)
        start = int((self.headers["Range"] or "bytes=0-").split("=")[1].rstrip("-"))
        if kind == "cross":
            return self.answer(307, Location=f"http://localhost:{self.port()}/v2/plain/app/blobs/{name}")
        if kind in ("drip", "silent"):
            self.send_response(200)
            self.end_headers()
            for byte in data if kind == "drip" else b"":
                self.wfile.write(bytes([byte]))
                time.sleep(0.1)
            return time.sleep(60)
        if kind == "loop":
            return self.answer(307, Location=self.path)
        if kind not in ("break", "norange", "lie", "swap") or data is CONFIG:
            return self.answer(200, data)
        if kind == "norange":
            start = 0
        body = data[start:]
        if kind == "lie" and start:
            start += 1
        if kind == "swap" and start:
            body = bytes(len(body))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.cut(kind + name, 1 if kind == "norange" else 3):
            body = body[:100000]
            self.close_connection = True
        return self.wfile.write(body)

    def do_GET(self):
        self.note()
        if self.path.startswith("/token?"):
            return self.give_token()
        parts = self.path.split("/")
        if len(parts) != 6 or parts[1] != "v2":
            return self.answer(404)
        kind, what, name = parts[2], parts[4], parts[5]
        if not self.may(kind):
            return None
        if what == "blobs":
            return self.give_blob(kind, name)
        if kind == "json":
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            for _ in range(100):
                self.wfile.write(b" " * (1 << 20))
            return None
        if kind == "variants" and name.startswith("sha256:") and name not in blobs:
            return self.answer(404)
        if kind == "mirrored" and "127.0.0.1" in self.headers["Host"]:
            return self.answer(503)
        data = blobs.get(name) or special(kind, self.port())
        return self.answer(200, data, Content_Type=MANIFEST)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # who is lied to may hang up


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Registry)
    print(server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        os._exit(0)
