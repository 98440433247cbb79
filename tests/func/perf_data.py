#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""perf_data.py OUT PATH BUILD_ID PID START LENGTH OFFSET FROM/TO,FROM/TO… COUNT: a perf.data as 'perf record -b' writes it on hardware with branch
records: a process maps a file, and has COUNT samples with this stack of branches, the last one first. Numbers are hexadecimal but for PID and COUNT. BUILD_ID
stands in the event of the mapping, as with --buildid-mmap; header:BUILD_ID in the header, as by default; - nowhere."""
import struct
import sys

out, path, build_id, pid, start, length, offset, branches, count = sys.argv[1:]
pid, count = int(pid), int(count)
start, length, offset = (int(x, 16) for x in (start, length, offset))
branches = [tuple(int(x, 16) for x in b.split("/")) for b in branches.split(",")]

IP, TID, BRANCH_STACK = 1 << 0, 1 << 1, 1 << 11
# struct perf_event_attr: a hardware counter of branches; mmap, comm, mmap2, sample_id_all off; any user branch
FLAGS = 1 << 8 | 1 << 9 | 1 << 23
attr = struct.pack("<IIQQQQQIIQQQQIiQIHH", 0, 112, 4, 1000, IP | TID | BRANCH_STACK, 0, FLAGS, 0, 0, 0, 0, 1 | 1 << 3, 0, 0, 0, 0, 0, 0, 0)
attr += b"\0" * (112 - len(attr))
attr = attr[:4] + struct.pack("<I", 112) + attr[8:]


def record(kind, misc, body):
    return struct.pack("<IHH", kind, misc, 8 + len(body)) + body


def padded(text):
    text = text.encode() + b"\0"
    return text + b"\0" * (-len(text) % 8)


USER, MMAP_BUILD_ID = 2, 1 << 14
in_header = build_id.startswith("header:")
raw = bytes.fromhex(build_id.removeprefix("header:").removeprefix("-"))
data = record(3, 0, struct.pack("<II", pid, pid) + padded("known"))
mmap = struct.pack("<IIQQQ", pid, pid, start, length, offset)
in_event = raw and not in_header
mmap += struct.pack("<BBH", len(raw), 0, 0) + raw.ljust(20, b"\0") if in_event else struct.pack("<IIQQ", 254, 0, 77, 0)
data += record(10, USER | (MMAP_BUILD_ID if in_event else 0), mmap + struct.pack("<II", 5, 2) + padded(path))
for _ in range(count):
    stack = b"".join(struct.pack("<QQQ", f, t, 1 << 1) for f, t in branches)
    data += record(9, USER, struct.pack("<QIIQ", branches[0][0], pid, pid, len(branches)) + stack)

HEADER, HEADER_BUILD_ID, BUILD_ID_SIZE = 104, 2, 1 << 15
attrs = attr + struct.pack("<QQ", 0, 0)
ids = record(67, USER | BUILD_ID_SIZE, struct.pack("<i", pid) + raw.ljust(20, b"\0") + struct.pack("<BBH", len(raw), 0, 0) + padded(path))
features = 1 << HEADER_BUILD_ID if in_header else 0
behind = HEADER + len(attrs) + len(data)
header = b"PERFILE2" + struct.pack("<QQQQQQQQ", HEADER, len(attrs), HEADER, len(attrs), HEADER + len(attrs), len(data), 0, 0)
header += struct.pack("<QQQQ", features, 0, 0, 0)
with open(out, "wb") as f:
    f.write(header + attrs + data)
    if in_header:
        f.write(struct.pack("<QQ", behind + 16, len(ids)) + ids)
