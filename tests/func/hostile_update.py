#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostile_update.py KIND FILE FROM TO: an update file (update(5)) that takes as much of its reader as can be, in few bytes.

records   as many as there may be
shapes    as many as there may be
index     as long as it may be
sections  as many as there may be
window    streams that look back 64 MiB
mom       a manifest of manifests of 500 MiB
expands   manifests of 100 GB
bomb:HASH:SIZE  before an object that the reader wants one of 10 GB, in so few bytes that to fetch both seems to pay
"""
import lzma
import struct
import sys

STREAMS = 10
LITERAL = 6
FILE = bytes([1]) + b"\xa4\x03\0\0"  # mode 0644, of root


def number(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def zeros(size):
    """A zstd frame with a window of 1 MiB, of blocks that repeat a byte."""
    n = size >> 17
    block = lambda last: struct.pack("<I", last | 1 << 1 | 1 << 20)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x50" + block(0) * (n - 1) + block(1), n << 17


def xz(data, **options):
    return lzma.compress(data, format=lzma.FORMAT_XZ, filters=[dict(id=lzma.FILTER_LZMA2, preset=0, **options)])


def head(index, meta, start, end, stored):
    return b"limpid-u" + struct.pack("<IIII", 1, 24 + len(stored) + meta, len(stored), len(index)) + stored


def section(streams, records=1, flags=1):
    return number(flags) + number(records) + b"".join(number(x) for s in streams for x in s)


def one_record(start, end, streams, data, size):
    """A single section of manifests; of each stream: codec, bytes expanded, bytes stored."""
    index = number(start) + number(end) + b"\4\0\1" + FILE + b"\1" + section(streams)
    index += b"\1\2\3\4" + bytes(4) + b"\0" + number(size) + b"".join(number(s[1]) for s in streams)
    return head(index, len(data), start, end, index) + data


def make(kind, start, end):
    begin = number(start) + number(end) + b"\4\0"
    none = [(0, 0, 0)] * STREAMS
    if kind == "window":
        size = 64 << 20
        data = xz(bytes(size), dict_size=size)
        return one_record(start, end, [(3, size, len(data))] * STREAMS, data * STREAMS, 100)
    if kind in ("mom", "expands"):
        data, size = zeros(500 << 20 if kind == "mom" else 100 << 30)
        # CONTROL plain, no COPY, INSERT all, GAP none
        plain = {0: b"\0", 1: b"\0", 2: number(size), 4: b"\0"}
        streams, all_data = [], b""
        for k in range(STREAMS):
            part = plain.get(k, b"")
            streams.append((4, size, len(data)) if k == LITERAL else (0, len(part), len(part)))
            all_data += data if k == LITERAL else part
        return one_record(start, end, streams, all_data, size)
    if kind.startswith("bomb:"):
        _, wanted, wanted_size = kind.split(":")
        data, size = zeros(10 << 30)
        index = begin + b"\1" + FILE + b"\2" + section(none) + section([(4, size, len(data)) if k == LITERAL else (0, 0, 0) for k in range(STREAMS)], 2, 0)
        index += b"\1\2\3\4\5\6\7\x08" + bytes.fromhex(wanted)[:4] + bytes(12) + bytes(3) + b"\0" + number(size) + number(int(wanted_size))
        index += b"".join(b"\0" + number(size if k == LITERAL else 0) + b"\0" for k in range(STREAMS))
        return head(index, 0, start, end, index) + data
    if kind == "index":
        index = begin + bytes((64 << 20) - 100)
    elif kind == "shapes":
        index = begin + number(65536) + FILE * 65536 + b"\1" + section(none, 0) + b""
    elif kind == "sections":
        index = begin + b"\1" + FILE + number(100000) + section(none, 0) * 100000
    else:
        n = 1000000
        index = begin + b"\1" + FILE + b"\1" + section(none, n)
        index += b"".join(struct.pack(">I", i + 1) for i in range(n)) + bytes((4 + 2 + STREAMS) * n)
    return head(index, 0, start, end, xz(index))


kind, path, start, end = sys.argv[1:]
with open(path, "wb") as f:
    f.write(make(kind, int(start), int(end)))
