#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""powercut.py tree RELEASE DIR        writes the part of release 10 or 20 that changes in every way that a tree can
powercut.py states WORK [NUMBER…]   rebuilds states of the recorded disk, recovers each and compares it with both releases

A state is what a disk may hold after its power went at one moment: all that was written before the last flush that it had finished,
and of every later write all, nothing, or some of its sectors. State number N of a seed is always the same: even numbers are the
flushes, in an order of their own, where everything before is there and nothing after; the others are a moment and a selection of
writes by chance. With numbers only these are looked at, and the image of each stays in WORK as state-N.img, as the power cut left it.

WORK has base.img (the disk before), log (of QEMU's blklogwrites), old/ and new/ (the trees that may be found), www (of the mix), guest (a
program that boots a disk).
Environment: FS, CUTS, SEED, JOBS, BOOTS, RECOVER (the command of swupd that a boot runs)."""
import ctypes
import fcntl
import mmap
import multiprocessing
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import traceback

SECTOR = 512
FLUSH, FUA, DISCARD = 1, 2, 4
MARK = b"powercut: "

FS = os.environ.get("FS", "ext4")
CUTS = int(os.environ.get("CUTS", "300"))
SEED = int(os.environ.get("SEED", "1"))
JOBS = int(os.environ.get("JOBS") or os.cpu_count())
BOOTS = int(os.environ.get("BOOTS", "0"))
RECOVER = os.environ.get("RECOVER", "clean").split()
NEXT_BOOT = os.environ.get("COMMIT") == "next-boot"
# subvolumes of a host, and where they belong (initramfs/README.md)
OWN = {"etc": "etc", "var": "var", "home": "home", "roothome": "root", "srv": "srv"}

COMPLETED = "an interrupted run was completed"  # swupd's words

# what is no part of a release and no user's: the updater's own, the recording's, the file system's
IGNORED = {"var/lib/swupd", "lost+found", ".mark", ".noise", ".usr-old", *(["run/limpid"] if NEXT_BOOT else [])}
KEPT = ".usr-old"  # after an exchange, for a rollback: it must be as whole, or not be there
UPDATE_AGAIN = 8  # in every so many states, when they are the old release, the update is tried again
READ_ALL = 10  # every so many states the content of untouched files is read, too
STAGE = "usr/.swupd"  # in the old release what is staged may stay for the next try
USERS = ("etc/", "home/", "root/", "srv/", "var/", "usr/local/", "usr/share/powercut/kept")


# --- the tree -------------------------------------------------------------------------------------------------------------------


def write(top, path, data, mode=0o644):
    path = os.path.join(top, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def link(top, path, target):
    path = os.path.join(top, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, path)


def tree(release, top):
    """Thirty of each kind of change, and what stays."""
    new = release == "20"
    sizes = [0, 1, 511, 512, 4096, 5000, 70000]
    for i in range(30):
        rng = random.Random(i)
        size = sizes[i % len(sizes)]
        same, other = rng.randbytes(size), rng.randbytes(size + i)
        at = f"usr/share/powercut/{i % 5}/"
        write(top, at + f"same-{i}", same)
        write(top, at + f"content-{i}", other if new else same)
        write(top, at + f"mode-{i}", b"mode", 0o755 if new else 0o644)
        write(top, at + f"setuid-{i}", other, 0o4755 if new else 0o755)
        write(top, at + f"setuid-content-{i}", other if new else same, 0o4755)
        write(top, at + (f"moved-{i}" if new else f"before-{i}"), same + b"moved")
        write(top, at + (f"new-{i}" if new else f"gone-{i}"), other)
        link(top, at + f"link-{i}", f"content-{i}" if new else f"same-{i}")
        if new:
            write(top, at + f"from-link-{i}", same)
            link(top, at + f"to-link-{i}", f"same-{i}")
            write(top, at + f"from-dir-{i}", other)
            write(top, at + f"to-dir-{i}/a/file", same)
            write(top, at + f"new-dir-{i}/file", other)
            link(top, at + f"dir-to-link-{i}", f"to-dir-{i}")
            write(top, at + f"link-to-dir-{i}/file", same)
        else:
            link(top, at + f"from-link-{i}", f"same-{i}")
            write(top, at + f"to-link-{i}", same)
            write(top, at + f"from-dir-{i}/file", other)
            write(top, at + f"to-dir-{i}", same)
            write(top, at + f"gone-dir-{i}/a/b/file", other)
            write(top, at + f"dir-to-link-{i}/file", same)
            link(top, at + f"link-to-dir-{i}", f"same-{i}")
        write(top, at + f"dir-mode-{i}/file", same)
        os.chmod(os.path.join(top, at + f"dir-mode-{i}"), 0o700 if new else 0o755)
    # a user puts a file there
    if not new:
        write(top, "usr/share/powercut/kept/ours", b"goes")


# --- the log --------------------------------------------------------------------------------------------------------------------


class Write:
    __slots__ = ("offset", "size", "at", "flags")

    def __init__(self, offset, size, at, flags):
        self.offset, self.size, self.at, self.flags = offset, size, at, flags


class Log:
    """Entries in the order in which the disk got them, and where the guest's marks are among them."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        magic, version, count, sector = struct.unpack_from("<QQQI", self.data)
        if magic != 0x6A736677736872 or version != 1:
            raise SystemExit(f"{path} is no log of writes")
        self.entries, self.marks, pos = [], {}, sector
        for i in range(count):
            start, sectors, flags, _ = struct.unpack_from("<QQQQ", self.data, pos)
            pos += sector
            size = sectors * sector
            if flags & DISCARD:
                raise SystemExit("the log has discards, which states do not know")
            self.entries.append(Write(start * sector, size, pos, flags))
            if self.data[pos : pos + len(MARK)] == MARK and size:
                text = self.data[pos + len(MARK) : pos + 64].split(b"\0")[0].decode()
                self.marks[text] = i
            pos += size
        self.flushes = [i for i, w in enumerate(self.entries) if w.flags & FLUSH]

    def bytes(self, w):
        return self.data[w.at : w.at + w.size]


# --- states ---------------------------------------------------------------------------------------------------------------------


class State:
    """Entries before `durable` are on the disk; of those from there to `cut` what parts() says."""

    def __init__(self, log, number):
        rng = random.Random(f"{SEED}:{number}")
        self.number, self.log, self.rng = number, log, rng
        first = log.marks["begin"]
        flushes = [i for i in log.flushes if i > first]
        order = flushes[:]
        random.Random(SEED).shuffle(order)
        self.exact = number % 2 == 0 and number // 2 < len(order)
        if self.exact:
            self.durable = self.cut = order[number // 2]
            return
        # every other moment by chance in all, the others in a flush's turn, rather a late one: there the commit is
        if number % 4 == 1:
            self.cut = rng.randrange(first, len(log.entries) + 1)
        else:
            turn = int((1 - rng.random() ** 3) * (len(flushes) - 1))
            low = flushes[turn - 1] if turn else first
            self.cut = rng.randrange(low, flushes[turn]) + 1
        self.durable = max((i for i in log.flushes if i < self.cut), default=0)

    def describe(self):
        log = self.log
        text = f"power cut after write {self.cut} of {len(log.entries)}, flushed up to {self.durable}"
        return text + (", begun at {begin}, done at {done}".format(**{"begin": "?", "done": "-", **log.marks}))

    def parts(self):
        """(offset, data) of what else reached the disk"""
        if self.exact:
            return
        rng = self.rng
        keep = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        tear = rng.choice([0.0, 0.1, 0.5])
        for w in self.log.entries[self.durable : self.cut]:
            if not w.size:
                continue
            data = self.log.bytes(w)
            if rng.random() < tear and w.size > SECTOR and not superblock(w):
                count = w.size // SECTOR
                how = rng.randrange(3)
                split = rng.randrange(1, count)
                for s in range(count):
                    if (s < split) if how == 0 else (s >= split) if how == 1 else rng.random() < 0.5:
                        yield w.offset + s * SECTOR, data[s * SECTOR : (s + 1) * SECTOR]
            elif w.flags & FUA or rng.random() < keep:
                yield w.offset, data


def superblock(w):
    """File systems trust a disk not to tear the block that says where all else is."""
    places = [0x10000, 0x4000000] if FS == "btrfs" else [0x400]
    return any(w.offset <= p < w.offset + w.size for p in places)


def copy_sparse(source, target):
    size = os.fstat(source).st_size
    os.ftruncate(target, 0)
    os.ftruncate(target, size)
    pos = 0
    while pos < size:
        try:
            pos = os.lseek(source, pos, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(source, pos, os.SEEK_HOLE)
        os.lseek(target, pos, os.SEEK_SET)
        while pos < end:
            pos += os.sendfile(target, source, pos, end - pos)


# --- trees ----------------------------------------------------------------------------------------------------------------------


class Node:
    __slots__ = ("kind", "mode", "owner", "size", "data", "time")


def look(path, st, read=True):
    n = Node()
    n.kind, n.mode, n.owner = stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), (st.st_uid, st.st_gid)
    n.size = st.st_size if n.kind == stat.S_IFREG else 0
    n.time = st.st_mtime_ns
    n.data = None
    if n.kind == stat.S_IFLNK:
        n.data = os.readlink(path)
    elif n.kind == stat.S_IFREG and read:
        with open(path, "rb", buffering=0) as f:
            n.data = f.read()
    return n


def walk(top, at=""):
    """(name, lstat) of everything below, names without a slash at the front"""
    with os.scandir(os.path.join(top, at)) as entries:
        for entry in entries:
            name = f"{at}/{entry.name}" if at else entry.name
            if name in IGNORED:
                continue
            st = entry.stat(follow_symlinks=False)
            yield name, st
            if stat.S_ISDIR(st.st_mode):
                yield from walk(top, name)


def load(top):
    return {name: look(os.path.join(top, name), st) for name, st in walk(top)}


def difference(name, want, have):
    for what in ("kind", "mode", "owner", "size", "data"):
        if getattr(want, what) != getattr(have, what):
            if what == "data" and have.kind == stat.S_IFREG:
                return "content"
            return f"{what} {getattr(have, what)}, not {getattr(want, what)}"
    if have.kind == stat.S_IFREG and name.startswith(USERS) and want.time != have.time:
        return "time"
    return None


def compare(top, releases, untouched):
    """What keeps the tree from being each of the releases, at most a few lines each. A file's content is not read when its inode is as in
    untouched (name → inode, ctime, content): then nothing has been done to it since it was the old release's"""
    wrong = {release: [] for release in releases}
    seen = set()
    for name, st in walk(top):
        seen.add(name)
        if name == STAGE or name.startswith(STAGE + "/"):
            for release, lines in wrong.items():
                if release == "new" or name == STAGE + "/journal":
                    lines.append(f"/{name} is left")
            continue
        *inode, data = untouched.get(name, (None,))
        same = inode == [st.st_ino, st.st_ctime_ns]
        have = look(os.path.join(top, name), st, read=not same)
        if same and have.data is None:
            have.data = data
        for release, want in releases.items():
            if len(wrong[release]) > 20:
                continue
            reason = difference(name, want[name], have) if name in want else "is too much"
            if reason:
                wrong[release].append(f"/{name}: {reason}")
    for release, want in releases.items():
        wrong[release] += [f"/{name} is missing" for name in want if name not in seen][:20]
    return wrong


def state_of_updater(top):
    """What swupd remembers beside the files: release and bundles that were asked for"""
    at = os.path.join(top, "var/lib/swupd")
    with open(os.path.join(at, "version")) as f:
        return f.read().strip(), sorted(os.listdir(os.path.join(at, "bundles")))


# --- mounting -------------------------------------------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
LOOP_SET_FD, LOOP_SET_STATUS64, LOOP_CTL_GET_FREE, BLKFLSBUF = 0x4C00, 0x4C04, 0x4C82, 0x1261
LO_FLAGS_AUTOCLEAR = 4
MNT_DETACH, MS_BIND, PR_SET_PDEATHSIG = 2, 4096, 1


def mount(what, where, kind, flags=0, options=None):
    if LIBC.mount(what.encode(), where.encode(), kind and kind.encode(), flags, options and options.encode()) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {what}: {os.strerror(number)}")


def umount(where):
    if LIBC.umount2(where.encode(), 0) < 0 and LIBC.umount2(where.encode(), MNT_DETACH) < 0:
        raise OSError(ctypes.get_errno(), f"umount {where}")


class Disk:
    """A file in memory behind a loop device; both go with the process"""

    def __init__(self, directory):
        self.fd = os.open(directory, os.O_RDWR | os.O_TMPFILE, 0o600)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.device = self.loop = None

    def attach(self):
        with open("/dev/loop-control", "rb") as control:
            while self.loop is None:
                device = f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}"
                loop = os.open(device, os.O_RDWR)
                try:
                    fcntl.ioctl(loop, LOOP_SET_FD, self.fd)
                    # struct loop_info64, all but the flags as it is
                    fcntl.ioctl(loop, LOOP_SET_STATUS64, struct.pack("<52xI176x", LO_FLAGS_AUTOCLEAR))
                    self.device, self.loop = device, loop
                except OSError:  # another was faster
                    os.close(loop)

    def changed(self):
        """The file was written past the device, which must forget what it knows"""
        if self.loop is None:
            self.attach()
        fcntl.ioctl(self.loop, BLKFLSBUF)

    def close(self):
        if self.loop is not None:
            os.close(self.loop)
        os.close(self.fd)


def mounted(disk, where):
    """Mount as a boot does: when the file system says no, after its checker"""
    try:
        mount(disk.device, where, FS)
        return False
    except OSError:
        if FS != "ext4":
            raise
        subprocess.run(["e2fsck", "-p", disk.device], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        mount(disk.device, where, FS)
        return True


def chosen_root(top):
    """What our initrd boots, and whether it is on trial"""
    state = os.path.join(top, ".swupd")
    names = sorted(os.listdir(state)) if os.path.isdir(state) else []
    for name in names:
        if name.startswith("try+") and int(name[4:].split("-")[0]) > 0:
            return os.readlink(os.path.join(state, name)), True
    return (os.readlink(os.path.join(state, "good")) if "good" in names else "root"), False


def mount_host(disk, where):
    """As our initrd does: the name of the root, and whether it is on trial"""
    mount(disk.device, where, FS, 0, "subvolid=5")
    try:
        name, trial = chosen_root(where)
    finally:
        umount(where)
    mount(disk.device, where, FS, 0, f"subvol=/{name}")
    for own, place in OWN.items():
        mount(disk.device, f"{where}/{place}", FS, 0, f"subvol=/{own}")
    mount("run", f"{where}/run", "tmpfs", 0, "mode=755")
    os.mkdir(f"{where}/run/limpid")
    with open(f"{where}/run/limpid/root", "w") as f:
        print(name, file=f)
    return name, trial


def recover(root, command):
    """The boot's or another command of swupd, by the program that the disk has"""
    mount("proc", f"{root}/proc", "proc")
    mount("dev", f"{root}/dev", "devtmpfs")
    try:
        done = subprocess.run(
            ["/usr/bin/swupd", *command, "-N", "--no-progress"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: (os.chroot(root), os.chdir("/")),
            env={"PATH": "/usr/bin:/usr/sbin"},
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")
    except (OSError, subprocess.SubprocessError) as e:
        return -1, str(e)
    finally:
        umount(f"{root}/dev")
        umount(f"{root}/proc")


class Checker:
    """Builds states one after the other, those that are flushed further later"""

    def __init__(self, work, log, name):
        self.work, self.log = work, log
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else work
        self.where = os.path.join(work, f"mnt-{name}")
        os.makedirs(self.where, exist_ok=True)
        self.base, self.disk = Disk(memory), Disk(memory)
        with open(f"{work}/base.img", "rb") as f:
            copy_sparse(f.fileno(), self.base.fd)
        self.done = 0  # entries that base has
        self.root, self.trial = None, False
        self.releases = {name: load(f"{work}/{name}") for name in ("old", "new")}
        old = self.releases["old"]
        self.old_usr = {name[4:]: node for name, node in old.items() if name.startswith("usr/")}
        self.updater = {name: state_of_updater(f"{work}/{name}") for name in ("old", "new")}
        copy_sparse(self.base.fd, self.disk.fd)
        self.disk.changed()
        self.mount()
        self.untouched = {name: (st.st_ino, st.st_ctime_ns, old[name].data) for name, st in walk(self.where)}
        self.unmount()

    def close(self):
        self.base.close()
        self.disk.close()

    def mount(self):
        """1: only after e2fsck. On a host: which root has been chosen"""
        if not NEXT_BOOT:
            return mounted(self.disk, self.where)
        self.root, self.trial = mount_host(self.disk, self.where)
        return False

    def unmount(self):
        if NEXT_BOOT:
            umount(f"{self.where}/run")
            for place in OWN.values():
                umount(f"{self.where}/{place}")
        umount(self.where)
        if FS == "btrfs":  # its next content is another disk
            subprocess.run(["btrfs", "device", "scan", "-u", self.disk.device], capture_output=True, check=False)

    def build(self, state):
        for w in self.log.entries[self.done : state.durable]:
            if w.size:
                os.pwrite(self.base.fd, self.log.bytes(w), w.offset)
        self.done = max(self.done, state.durable)
        copy_sparse(self.base.fd, self.disk.fd)
        for offset, data in state.parts():
            os.pwrite(self.disk.fd, data, offset)

    def save(self, state):
        path = os.path.join(self.work, f"state-{state.number}.img")
        with open(path, "wb") as f:
            copy_sparse(self.disk.fd, f.fileno())
        return path

    def verdict(self, status, said, state):
        """'old', 'new' or None, and why"""
        wrong = compare(self.where, self.releases, self.untouched if state.number % READ_ALL else {})
        kept = os.path.join(self.where, KEPT)
        if os.path.lexists(kept):
            wrong["old"].append(f"/{KEPT} is left")
            back = compare(kept, {"old": self.old_usr}, {})["old"]
            wrong["new"] += [f"/{KEPT}{line}" for line in back if not line.startswith("/.swupd")]
        report = [state.describe(), f"swupd exited with {status}: {said.strip()}"]
        right = [name for name in wrong if not wrong[name]]
        for name in right:
            have = state_of_updater(self.where)
            if have != self.updater[name]:
                wrong[name].append(f"swupd remembers {have}, not {self.updater[name]}")
                right = []
        if status != 0:
            right = []
        # what was said to be done must be there
        if right == ["old"] and state.cut > self.log.marks.get("done", len(self.log.entries)):
            report.append("the update was said to be done")
            right = []
        for name, lines in wrong.items():
            report += [f"not {name}: {line}" for line in lines[:12]]
        return (right[0] if right else None), "\n".join(report)

    def check(self, state, boot=False):
        self.build(state)
        if boot:
            status, said = self.boot()
        self.disk.changed()
        try:
            repaired = self.mount()
        except OSError as e:
            return None, f"{state.describe()}\n{e}", ()
        try:
            if not boot:
                # a root on trial is accepted by the boot
                status, said = recover(self.where, ["accept"] if self.trial else RECOVER)
            verdict, why = self.verdict(status, said, state)
            again = verdict == "old" and state.number % UPDATE_AGAIN == 1
            if again:
                wrong = self.again()
                verdict, why = (None if wrong else verdict), "\n".join([why, *wrong])
            notes = [COMPLETED] if COMPLETED in said else []
            if verdict == "new" and os.path.lexists(os.path.join(self.where, KEPT)):
                notes.append("exchanged")
            return verdict, why, notes + ["mounted after e2fsck"] * repaired + ["booted"] * boot + ["updated again"] * again
        finally:
            self.unmount()

    def again(self):
        """The old release is not only whole, what the cut update has left does not keep the next one from the new; why not"""
        mount(f"{self.work}/www", f"{self.where}/mnt", None, MS_BIND)
        try:
            status, said = recover(self.where, ["update", "-u", "file:///mnt"])
        finally:
            umount(f"{self.where}/mnt")
        wrong = compare(self.where, {"new": self.releases["new"]}, self.untouched)["new"]
        if status == 0 and not wrong:
            return []
        return [f"the update after it exited with {status}: {said.strip()}"] + [f"then not new: {w}" for w in wrong[:12]]

    def boot(self):
        """A guest recovers the disk; its exit status of swupd and console"""
        words = f"mode=recover fs={FS} recover={RECOVER[0]}"
        if NEXT_BOOT:
            self.disk.changed()
            self.mount()
            self.unmount()
            words = f"mode=recover fs={FS} host={self.root} recover={'accept' if self.trial else RECOVER[0]}"
        guest = [f"{self.work}/guest", self.disk.path, words]
        done = subprocess.run(guest, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        said = done.stdout.decode(errors="replace")
        found = said.rpartition("powercut: swupd exited with ")[2].split()
        return (int(found[0]) if found and found[0].isdigit() else -1), said[-2000:]


# --- all of them ----------------------------------------------------------------------------------------------------------------


def work_through(work, log, states, name, out, boots):
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        checker = Checker(work, log, name)
        try:
            for state in states:
                out.put((state.number, *checker.check(state, state.number in boots)))
        finally:
            checker.close()
        out.put(None)
    except BaseException:  # pylint: disable=broad-except
        out.put(traceback.format_exc())


def keep(work, number, why):
    path = os.path.join(work, "neither", f"{SEED}-{number}")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(f"SEED={SEED}, state {number}: {why}\n")


def states(work, numbers):
    log = Log(f"{work}/log")
    if "begin" not in log.marks:
        raise SystemExit("the guest has not begun its update")
    chosen = [State(log, n) for n in (numbers or range(CUTS))]
    if numbers:
        for state in chosen:
            checker = Checker(work, log, "one")
            checker.build(state)
            print(f"{checker.save(state)}: {state.describe()}")
            checker.close()
    boots = set(random.Random(SEED).sample([s.number for s in chosen], min(BOOTS, len(chosen))))
    chosen.sort(key=lambda s: s.durable)
    writes = sum(1 for w in log.entries if w.size)
    print(f"{writes} writes, {len(log.flushes)} flushes; {len(chosen)} states", flush=True)

    out = multiprocessing.SimpleQueue()
    jobs = min(JOBS, len(chosen))
    share = (len(chosen) + jobs - 1) // jobs
    workers = []
    for job in range(jobs):
        part = chosen[job * share : (job + 1) * share]
        workers.append(multiprocessing.Process(target=work_through, args=(work, log, part, job, out, boots)))
        workers[-1].start()
    counts = {"old": 0, "new": 0, None: 0}
    noted, failed = {}, False
    while jobs:
        result = out.get()
        if result is None:
            jobs -= 1
        elif isinstance(result, str):
            print(result, file=sys.stderr)
            jobs -= 1
            failed = True
        else:
            number, verdict, why, notes = result
            counts[verdict] += 1
            for note in notes:
                noted[note] = noted.get(note, 0) + 1
            if verdict is None:
                keep(work, number, why)
                if counts[None] <= 10 or numbers:
                    print(f"neither: SEED={SEED} state {number}: {why}", flush=True)
            elif numbers:
                print(f"state {number}: {verdict}; {why}")
            if sum(counts.values()) % 1000 == 0:
                print(f"{sum(counts.values())} states: {counts['old']} old, {counts['new']} new", flush=True)
    for worker in workers:
        worker.join()
    for note, count in noted.items():
        print(f"{note}: {count}")
    print(f"cuts {sum(counts.values())}, old {counts['old']}, new {counts['new']}, neither {counts[None]}")
    return 1 if failed or counts[None] or sum(counts.values()) != len(chosen) else 0


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "tree":
        shutil.rmtree(sys.argv[3], ignore_errors=True)
        tree(sys.argv[2], sys.argv[3])
        return 0
    if len(sys.argv) >= 3 and sys.argv[1] == "states":
        return states(sys.argv[2], [int(n) for n in sys.argv[3:]])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
