#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""misbehave.py FOLDER WAY [ONLY]: serves a folder as it should not, on a port of 127.0.0.1 that the first line tells. ONLY: a part of the paths that it misbehaves with (all).

    well        as it should: the base of the others
    shifted     parts that begin elsewhere than they were asked for, but those from the start, and say so
    lying       parts that begin elsewhere and say that they do not
    long        parts with more bytes than were asked for
    endless     status 200 and bytes without end, but for parts from the start
    flood       the same for those, too
    STATUS      416, 501 ...: parts are refused by it
    cut         half of each answer, then the end of the connection
    torn        half of each part that is not from the start, then the end of the connection; the second time well
    reset       a few bytes of each answer, then a reset
    html        a page of HTML, with status 200, as portals of hotels do
    slow        one byte after the other, ten in a second
    crawling    a hundred bytes after the other, ten times in a second
    silent      no answer, until the other side ends it
    late        to the first three questions for a file: nothing; a body of one byte after the other; such a head; then well
    growing     each file is longer each time
    chunked     each whole answer in chunks, whatever HTTP the question is of
    busy        503 the first two times, then well
    proxy       well, for requests with a whole URL, as a proxy gets them; by CONNECT it leads to the server on 127.0.0.1 of that port
"""
import collections
import http.server
import re
import select
import socket
import struct
import sys
import time
import urllib.parse
from pathlib import Path

folder, way = Path(sys.argv[1]), sys.argv[2]
only = sys.argv[3] if len(sys.argv) > 3 else ""
asked = collections.Counter()
PAGE = b"<html><head><title>Welcome</title></head><body>Please accept our terms.</body></html>\n" * 50


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        print("GET", self.path, self.headers.get("Range", "-"), flush=True)
        if (way == "proxy") != bool(url.netloc):
            return self.answer(400, b"")
        asked[url.path] += 1
        bad = way if only in url.path else "well"
        try:
            data = (folder / url.path.lstrip("/")).read_bytes()
        except OSError:
            return self.answer(200, PAGE) if bad == "html" else self.answer(404, b"")
        if bad == "growing":
            data += b"more" * asked[url.path]
        if bad == "html":
            return self.answer(200, PAGE)
        if bad == "busy" and asked[url.path] <= 2:
            return self.answer(503, b"")
        if bad == "silent":
            return self.keep_waiting(data, 1)
        if bad == "late" and asked[url.path] <= 3:
            return self.keep_waiting(data, asked[url.path])
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if bad == "flood" or (bad == "endless" and not (wanted and wanted[1] == "0")):
            return self.flood(data)
        if not wanted:
            return self.answer(200, data, bad)
        if bad.isdecimal():
            return self.answer(int(bad), b"")
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if first >= len(data):
            return self.answer(416, b"", range_=f"bytes */{len(data)}")
        said = first
        if bad in ("shifted", "lying"):
            first = max(first - 7, 0)
            said = first if bad == "shifted" else said
        if bad == "torn" and (first == 0 or asked[url.path, "part"]):
            bad = "well"
        asked[url.path, "part"] += first > 0
        if bad == "long":
            last += 5000
        return self.answer(206, data[first:last + 1], bad, f"bytes {said}-{said + last - first}/{len(data)}")

    def do_CONNECT(self):
        print("CONNECT", self.path, "-", flush=True)
        if way != "proxy":
            return self.answer(400, b"")
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as server:
            self.answer(200, b"")
            self.close_connection = True
            self.wfile.flush()
            ends = {self.connection: server, server: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    ends[end].sendall(data)

    def answer(self, status, body, bad="well", range_=None):
        if bad == "chunked" and not range_:
            return self.send_chunks(status, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if range_:
            self.send_header("Content-Range", range_)
        self.end_headers()
        if bad in ("cut", "torn"):
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
        elif bad == "reset":
            self.wfile.write(body[:10])
            self.wfile.flush()
            # with the time to close it at 0, the end is a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif bad in ("slow", "crawling"):
            self.drip(body, 1 if bad == "slow" else 100)
        else:
            self.wfile.write(body)

    def send_chunks(self, status, body):
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(body), 1000):
            piece = body[at:at + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def drip(self, body, piece):
        for at in range(0, len(body), piece):
            self.wfile.write(body[at:at + piece])
            self.wfile.flush()
            time.sleep(0.1)

    def keep_waiting(self, body, times):
        self.close_connection = True
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Long: %s\r\n\r\n" % (len(body), b"x" * 1000)
        if times == 1:
            self.rfile.read(1)  # until the other side ends it
        elif times == 2:
            self.wfile.write(head)
            self.drip(body, 1)
        else:
            self.drip(head + body, 1)

    def flood(self, body):
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        sent = 0
        try:
            while sent < 1 << 30:
                self.wfile.write(body)
                sent += len(body)
                body = bytes(1 << 20)
        finally:
            print("SENT", sent, flush=True)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
