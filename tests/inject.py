#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""inject.py [SCENARIO[:POINT]…]: swupd killed at, or refused by the kernel, each call that changes something on disk.

A scenario is a command of swupd on a machine of the predecessor's releases (tests/vectors). It is run once as it is, which says how many
changing calls it makes (inject.c counts them) and what the new tree is. Then again from the same beginning, for each point: a call,
at which it is killed, or which fails with ENOSPC, EIO, EROFS or ENOMEM, once or it and all after it. What is demanded each time:

    the exit status is that of the error (swupd(8)), or 0, and 0 only with the new tree; no signal ends it but the one that was sent
    the tree is the old or the new one, file by file; an interrupted commit in place, once another run (swupd clean) has completed it
    the older tree that a rollback goes back to is whole, or not there
    of a machine with roots: the running one is what it was, the old or the new one boots, and is whole; so it is once it has booted
    the command then works, if it was not done; nothing that nobody asked for is left

Without arguments all scenarios; with POINT ("renameat-300:EIO+", as failures are told; "renameat:EIO": all calls of that name) this one only.
The last line is "N passed, N failed".

    POINTS=100   of each scenario: spread evenly over its calls and the nine ways to fail; 0: all
    SEED=1       which of them
    WORK=DIR     where the machines are (/dev/shm)
    JOBS         processors
    WEB, CERT    other releases, for scenarios that need those (tests/func/kill.bats)
"""
import collections
import hashlib
import math
import multiprocessing
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

top = Path(__file__).resolve().parent.parent
out = top / os.environ.get("O", "build")
web = os.environ.get("WEB", f"{top}/tests/vectors/www")
certificate = os.environ.get("CERT", f"{top}/tests/vectors/cert/Swupd_Root.pem")

KILL = "KILL"
# what swupd(8) says of them; 32: whatever has no number of its own
STATUS = {"ENOSPC": 25, "EIO": 32, "EROFS": 7, "ENOMEM": 34}
WAYS = (KILL, *STATUS, *(f"{error}+" for error in STATUS))

# the updater's own, no part of a release; a tree put aside for a rollback is looked at by itself
OWN = {"usr/.swupd", "var/lib/swupd", "var/cache/swupd", "var/tmp/swupd", ".usr-old", ".usr-next", ".usr-gone"}
KEPT = ".usr-old"
LITTER = re.compile(r"^(\.update\..*|\.swupd.*|\.new\..*|.*\.part|.*\.old|\.usr-next|\.usr-gone)$")


def listing(root, own):
    """What a tree is: a line for each path, of type, mode, owner, extended attributes, content"""
    lines = {}

    def walk(folder, prefix):
        for entry in os.scandir(folder):
            path = prefix + entry.name
            if path in own:
                continue
            st = entry.stat(follow_symlinks=False)
            what = [stat.filemode(st.st_mode), st.st_uid, st.st_gid]
            if entry.is_symlink():
                what.append(os.readlink(entry.path))
            elif entry.is_file(follow_symlinks=False):
                what.append(hashlib.sha256(Path(entry.path).read_bytes()).hexdigest())
            what += [(name, os.getxattr(entry.path, name, follow_symlinks=False))
                     for name in sorted(os.listxattr(entry.path, follow_symlinks=False))]
            lines[re.sub(r"\.deleted\.\d+\.", ".deleted.T.", path)] = tuple(what)
            if entry.is_dir(follow_symlinks=False):
                walk(entry.path, f"{path}/")

    walk(root, "")
    return lines


def difference(want, have):
    return [f"{path}: {have.get(path, 'missing')}, not {want.get(path, 'there')}" for path in sorted(want.keys() | have.keys())
            if want.get(path) != have.get(path)]


State = collections.namedtuple("State", "tree kept")


class Wrong(Exception):
    """What was found, of a point"""


class Machine:
    """A root on a file system of its own: tmpfs (a folder of WORK), ext4, or btrfs with /usr as a subvolume"""

    def __init__(self, folder, kind):
        self.folder, self.kind, self.root = Path(folder), kind, Path(folder) / "root"
        self.calls, self.mounted = self.folder / "calls", None
        self.root.mkdir(parents=True)
        if kind != "tmpfs":
            self.mount_disk(kind, self.root)
        self.empty()

    def mount_disk(self, kind, where):
        disk = self.folder / "disk"
        with open(disk, "wb") as f:
            f.truncate(256 << 20)
        subprocess.run([f"mkfs.{kind}", "-q", disk], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", disk, where], check=True)
        self.mounted = where

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.mounted], check=True)  # of an interrupted run something may still be at work
        shutil.rmtree(self.folder)

    def empty(self):
        for entry in os.scandir(self.root):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        if self.kind == "btrfs":
            subprocess.run(["btrfs", "-q", "subvolume", "create", self.root / "usr"], check=True)

    def save(self):
        shutil.rmtree(self.folder / "saved", ignore_errors=True)
        subprocess.run(["cp", "-a", f"{self.root}/.", self.folder / "saved"], check=True)

    def load(self):
        self.empty()
        subprocess.run(["cp", "-a", f"{self.folder}/saved/.", self.root], check=True)

    def swupd(self, command, *args, inject=None):
        """(status, what it said); inject: arguments of inject.c"""
        before = [] if inject is None else [out / "bin/inject", "-o", self.calls, *inject]
        done = subprocess.run(
            [str(a) for a in (*before, out / "bin/swupd", command, "-p", self.root, "-K", self.root / "var/cache/swupd", "-u",
                              f"file://{web}", "-F", "30", "-C", certificate, "-N", "-I", "--no-progress", "-r", "0", *args)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout.decode(errors="replace")

    def must(self, *command):
        status, said = self.swupd(*command)
        if status != 0:
            raise Wrong(f"swupd {' '.join(command)}: status {status}\n{said}")

    def state(self):
        tree = listing(self.root, OWN)
        for name in sorted(os.listdir(self.root / "var/lib/swupd/bundles")) if (self.root / "var/lib/swupd/bundles").is_dir() else ():
            tree[f"tracked {name}"] = ()
        kept = self.root / KEPT
        return State(tree, listing(kept, {".swupd"}) if kept.is_dir() else None)

    def usr(self):
        return listing(self.root / "usr", {".swupd"})

    def litter(self):
        found = []
        for folder, folders, files in os.walk(self.root):
            here = os.path.relpath(folder, self.root)
            found += [os.path.join(here, name) for name in (*folders, *files) if LITTER.match(name) and (here, name) != (".", KEPT)]
            folders[:] = [name for name in folders if (here, name) != (".", KEPT)]
        return found

    def user_files(self):
        """What a user has, also in a directory that release 20 removes"""
        for path in ("etc/app/conf", "var/lib/app/db", "home/u/.profile", "usr/local/bin/tool", "usr/share/extras/dir-deleted-in-30/mine"):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text("mine\n")
        (self.root / "etc/link").symlink_to("/nowhere")


class Roots(Machine):
    """
    A btrfs as our hosts have it: the root is one of several in its top level, etc, var and home lie beside it. What our initrd does is done here
    (initramfs/README.md). A state's tree is that of the running root and, below "next", what boots next; kept is the default subvolume.
    """

    SHARED = ("etc", "var", "home")

    def __init__(self, folder, _):
        self.top = Path(folder) / "top"
        self.top.mkdir(parents=True)
        super().__init__(folder, "roots")

    def mount_disk(self, _, where):
        super().mount_disk("btrfs", self.top)
        self.device = self.output("findmnt", "-no", "SOURCE", self.top)

    @staticmethod
    def output(*command):
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode().strip()

    @staticmethod
    def run(*commands):
        """In one shell, for speed"""
        subprocess.run(["sh", "-ec", "\n".join(commands)], check=True)

    def close(self):
        self.leave()
        super().close()

    def leave(self):
        if self.root.is_mount():
            self.run(f"umount -R {self.root}")

    def enter(self, name):
        """The machine runs in that root"""
        self.leave()
        self.run(f"mount -o subvol={name} {self.device} {self.root}",
                 *(f"mount -o subvol={shared} {self.device} {self.root}/{shared}" for shared in self.SHARED),
                 f"mount -t tmpfs tmpfs {self.root}/run", f"mkdir {self.root}/run/limpid")
        (self.root / "run/limpid/root").write_text(f"{name}\n")
        self.running = name

    def subvolumes(self, where="."):
        return sorted(entry.name for entry in os.scandir(self.top / where)
                      if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_ino == 256)  # each subvolume's root directory

    def remove_all(self):
        self.leave()
        self.run(f"btrfs -q subvolume set-default 5 {self.top}", f"cd {self.top}", "rm -rf .swupd",
                 *(f"btrfs -q subvolume delete {name}" for name in self.subvolumes()))

    def empty(self):
        self.remove_all()
        self.run(f"cd {self.top}", *(f"btrfs -q subvolume create {name}" for name in ("root", *self.SHARED)),
                 f"mkdir root/run {' '.join(f'root/{shared}' for shared in self.SHARED)}")
        self.enter("root")

    def save(self):
        self.saved_default = self.default()
        self.saved_running = self.running
        self.run(f"cd {self.top}", "mkdir saved", *(f"btrfs -q subvolume snapshot {name} saved/{name}" for name in self.subvolumes()),
                 "[ ! -e .swupd ] || cp -a .swupd saved/.links")

    def load(self):
        self.remove_all()
        self.run(f"cd {self.top}", *(f"btrfs -q subvolume snapshot saved/{name} {name}" for name in self.subvolumes("saved")),
                 "[ ! -e saved/.links ] || cp -a saved/.links .swupd")
        if self.saved_default:
            self.run(f"btrfs -q subvolume set-default {self.top}/{self.saved_default}")
        self.enter(self.saved_running)

    def default(self):
        """The name of the default subvolume; None: it is the top level"""
        return self.output("btrfs", "subvolume", "get-default", self.top).partition(" path ")[2] or None

    def links(self):
        folder = self.top / ".swupd"
        return {name: os.readlink(folder / name) for name in os.listdir(folder)} if folder.exists() else {}

    def good(self):
        """Nothing was ever chosen: it boots what it did"""
        return self.links().get("good", self.running)

    def choice(self):
        """(name of the link, root) of what boots next"""
        trials = [(name, root) for name, root in self.links().items() if re.match(r"try\+[1-9]", name)]
        if len(trials) > 1:
            raise Wrong(f"two trials: {trials}")
        return trials[0] if trials else ("good", self.good())

    def boot(self):
        link, root = self.choice()
        if link != "good":
            left, _, done = link[len("try+"):].partition("-")
            os.rename(self.top / ".swupd" / link, self.top / f".swupd/try+{int(left) - 1}-{int(done or 0) + 1}")
        self.enter(root)
        if link != "good":
            (self.root / "run/limpid/trial").touch()

    def state(self):
        tree = super().state().tree
        link, root = self.choice()
        tree |= {"which boots": (link, root), "which is good": (self.good(),)}
        tree |= {f"next {path}": what for path, what in listing(self.top / root, OWN).items()}
        return State(tree, self.default())

    def usr(self):
        """What may still be the default when another is chosen: the choice comes first"""
        return self.default()

    def litter(self):
        found = [name for name in self.subvolumes() if name not in (*self.subvolumes("saved"), self.choice()[1], self.good(), *self.SHARED)] \
            if (self.top / "saved").exists() else []
        # .next: a link that was to get its name; the next one is made in its place
        found += [f".swupd/{name}" for name in self.links() if name not in ("good", ".next") and not name.startswith("try+")]
        for folder in (self.root, self.top / self.choice()[1]):
            for here, folders, files in os.walk(folder):
                found += [os.path.join(here, name) for name in (*folders, *files) if LITTER.match(name) and name != ".swupd"]
            # what the other root wants to have done when it runs again, and this one when it is good
            own = folder / "usr/.swupd"
            found += [str(path) for path in own.iterdir() if path.name not in ("return", "arrive")] if own.exists() else []
        mounted = Path("/proc/self/mounts").read_text().split()
        found += [place for place in mounted if place.startswith(f"{self.folder}/") and
                  place not in map(str, (self.top, self.root, self.root / "run", *(self.root / shared for shared in self.SHARED)))]
        return found


# --- scenarios: what is done before, the command, what else is injected -------------------------------------------------------------------------------------


def installed(machine):
    machine.must("os-install", "-V", "10", "-B", "os-core-update,editors,libs")
    machine.user_files()


def installed_20(machine):
    """with an older tree, where updates are by exchange"""
    installed(machine)
    machine.must("update", "-V", "20")


def updated(machine):
    installed(machine)
    machine.must("update")


def small(machine):
    machine.must("os-install", "-V", "10", "-B", "os-core-update")
    machine.user_files()


def half(machine):
    """An update in place that was killed in the middle of its commit"""
    installed(machine)
    machine.save()
    machine.swupd("update", "--in-place", inject=())
    placed = [i + 1 for i, line in enumerate(machine.calls.read_text().splitlines()) if re.match(r"renameat2? \S+/usr/\.swupd/next/", line)]
    machine.load()
    status, said = machine.swupd("update", "--in-place", inject=("-n", placed[len(placed) // 2]))
    if status != 128 + signal.SIGKILL or not (machine.root / "usr/.swupd/journal").exists():
        raise Wrong(f"no half commit: status {status}: {said}")


def damaged(machine):
    installed(machine)
    usr = machine.root / "usr"
    (usr / "bin/edit").unlink()
    (usr / "lib/libsmall.so").unlink()
    (usr / "lib/libsmall.so").mkdir()
    (usr / "bin/hello").write_text("changed\n")
    shutil.rmtree(usr / "share/private-dir")
    (usr / "share/private-dir").symlink_to("/etc")
    (usr / "share/owned-dir").chmod(0o777)
    (usr / "share/extra").write_text("extra\n")


def own_file(machine):
    """A user's file in a directory that the next release has as a file"""
    machine.must("os-install", "-V", "30", "-B", "extras")
    (machine.root / "usr/share/tc/file-to-dir/mine").write_text("mine\n")


def on_next_boot(machine):
    """The next release, prepared beside the one before, booted and good"""
    installed(machine)
    machine.must("update", "--next-boot")
    machine.boot()
    machine.must("accept")


Scenario = collections.namedtuple("Scenario", "kind before command always", defaults=((),))

scenarios = {
    "install": Scenario("tmpfs", lambda machine: None, ("os-install", "-V", "10", "-B", "os-core-update,editors,libs")),
    "update-in-place": Scenario("tmpfs", installed, ("update", "--in-place")),
    "complete": Scenario("tmpfs", half, ("clean",)),
    "update-ext4": Scenario("ext4", installed_20, ("update",)),
    "update-btrfs": Scenario("btrfs", installed_20, ("update",)),
    "rollback-ext4": Scenario("ext4", updated, ("rollback",)),
    "rollback-btrfs": Scenario("btrfs", updated, ("rollback",)),
    "update-next-boot": Scenario("roots", installed, ("update", "--next-boot")),
    "rollback-next-boot": Scenario("roots", on_next_boot, ("rollback",)),
    "repair": Scenario("ext4", damaged, ("repair", "--picky")),
    "bundle-add": Scenario("ext4", small, ("bundle-add", "editors", "libs")),
    "bundle-remove": Scenario("ext4", installed, ("bundle-remove", "editors")),
}
# of releases that are given
scenarios_of_web = {
    "directory-to-file": Scenario("tmpfs", own_file, ("update", "--in-place")),
    "directory-to-file-no-exchange": Scenario("tmpfs", own_file, ("update", "--in-place"), ("-x",)),
    "directory-to-file-btrfs": Scenario("btrfs", own_file, ("update",)),
}


class Trial:
    """A scenario on a machine: its beginning saved, its calls and its end known"""

    def __init__(self, name, folder):
        self.scenario = (scenarios | scenarios_of_web)[name]
        self.machine = (Roots if self.scenario.kind == "roots" else Machine)(folder, self.scenario.kind)

    def prepare(self):
        self.scenario.before(self.machine)
        self.machine.save()
        self.old, self.old_usr = self.machine.state(), self.machine.usr() if (self.machine.root / "usr").exists() else None
        status, said = self.machine.swupd(*self.scenario.command, inject=self.scenario.always)
        if status != 0 or self.machine.litter():
            raise Wrong(f"without any failure: status {status}: {said} {self.machine.litter()}")
        self.calls = [line.split(" ", 1)[0] for line in self.machine.calls.read_text().splitlines()]
        self.new = self.machine.state()
        if self.new.tree == self.old.tree:
            raise Wrong("it changes nothing")
        self.end()
        self.ended = self.machine.state()

    def which(self, complete):
        """'old' or 'new', of the tree as it is; complete: nothing is to be done any more"""
        now = self.machine.state()
        for name, state in (("new", self.new), ("old", self.old)):
            if now.tree == state.tree:
                kept = (None, self.old_usr if name == "new" else self.old.kept, state.kept)
                if complete and now.kept not in kept:
                    raise Wrong(f"{name}, but the older tree is not whole")
                return name
        return None

    def nothing(self):
        """Of an installation: there are only directories"""
        return not self.old.tree and all(mode[0][0] == "d" for mode in self.machine.state().tree.values())

    def names_new(self):
        name = "usr/lib/os-release"
        return self.machine.state().tree.get(name) == self.new.tree[name] != self.old.tree.get(name)

    def neither(self):
        now = self.machine.state().tree
        return "neither: " + "; ".join(min(difference(self.new.tree, now), difference(self.old.tree, now), key=len)[:6])

    def point(self, number, way):
        """The point was not reached: None; else what was left, and the status"""
        machine, command = self.machine, self.scenario.command
        machine.load()
        error = way.rstrip("+")
        inject = [*self.scenario.always, "-n", number, *(() if way == KILL else ("-e", error)), *(("-a",) if way.endswith("+") else ())]
        status, said = machine.swupd(*command, inject=inject)
        hit = [line[2:] for line in machine.calls.read_text().splitlines() if line.startswith("! ")] if way != KILL else []
        if way == KILL:
            if status == 0:
                return None
            if status != 128 + signal.SIGKILL:
                raise Wrong(f"status {status}, not killed\n{said}")
        else:
            if not hit:
                return None
            if status not in (0, STATUS[error]):
                raise Wrong(f"{hit[0]}: status {status}\n{said}")
        try:
            return self.left_roots(status) if machine.kind == "roots" else self.left(status)
        except Wrong as wrong:
            raise Wrong(f"{hit[0] if hit else ''}: status {status}\n{said}{wrong}") from wrong

    def end(self):
        """What is done in the end: of a machine with roots the one that was chosen is booted"""
        if self.machine.kind == "roots":
            self.machine.boot()
            self.machine.must("accept")

    def left_roots(self, status):
        """What that run left, of a machine with roots"""
        left = self.which(False)
        if left is None or (status == 0 and left != "new"):
            raise Wrong(left or self.neither())
        self.machine.must("clean")
        if self.which(True) != left:
            raise Wrong(f"it was {left}, after 'clean' " + self.neither())
        # also when it is the new one already: then it says so, or completes it
        self.again()
        if self.machine.state() != self.new or ".next" in self.machine.links():
            raise Wrong(f"the default subvolume is {self.machine.default()}, of the links {self.machine.links()}")
        self.end()
        if self.machine.state() != self.ended or self.machine.litter():
            raise Wrong("booted: " + "; ".join(difference(self.ended.tree, self.machine.state().tree)[:6]) + f" {self.machine.litter()}")
        return left, status

    def left(self, status):
        """What that run left"""
        machine = self.machine
        journal = (machine.root / "usr/.swupd/journal").exists()
        left = self.which(False)
        if status == 0 and left != "new":
            raise Wrong("status 0, but " + (left or self.neither()))
        if left is None and not journal and not self.nothing():
            raise Wrong("without a journal, " + self.neither())
        if left != "new" and journal and self.names_new():
            raise Wrong("os-release is the new one before the rest is: " + self.neither())
        machine.must("clean")
        left = self.which(True)
        if left is None and not self.nothing():
            raise Wrong(self.neither())
        if left != "new":
            self.again()
            left = "old"
        if machine.litter():
            raise Wrong(f"left: {machine.litter()}")
        return left, status

    def again(self):
        """The command works, now that nothing fails"""
        if self.machine.litter():
            raise Wrong(f"left: {self.machine.litter()}")
        self.machine.must(*self.scenario.command)
        if self.which(True) != "new":
            raise Wrong("again: " + self.neither())


def points(calls, only):
    """(number, way) of what is tried"""
    if only:
        call, way = only.split(":")
        name, _, number = call.partition("-")
        return [(int(number), way)] if number else [(i, way) for i, made in enumerate(calls, 1) if made == name]
    every = [(number, way) for number in range(1, len(calls) + 1) for way in WAYS]
    wanted = int(os.environ.get("POINTS", "100"))
    if not wanted or wanted >= len(every):
        return every
    step = len(every) // wanted
    while math.gcd(step, len(WAYS)) != 1:
        step -= 1
    return every[int(os.environ.get("SEED", "1")) * 7 % step::step][:wanted]


def work(name, only, share, shares, folder, results):
    trial = None
    try:
        trial = Trial(name, folder)
        trial.prepare()
        for number, way in points(trial.calls, only)[share::shares]:
            call = f"{trial.calls[min(number, len(trial.calls)) - 1]}-{number}"
            try:
                results.put((name, f"{call}:{way}", trial.point(number, way), None))
            except Wrong as wrong:
                results.put((name, f"{call}:{way}", None, str(wrong)))
    except Wrong as wrong:
        results.put((name, "", None, str(wrong)))
    except Exception:  # the main process tells it, and must not wait for ever
        results.put((name, "", None, traceback.format_exc()))
    finally:
        # another one must not interrupt this
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if trial:
            trial.machine.close()
        results.put(None)


def try_scenario(name, only, folder):
    jobs = 1 if only else int(os.environ.get("JOBS") or os.cpu_count())
    results = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(name, only, i, jobs, folder / f"{name}-{i}", results)) for i in range(jobs)]
    for worker in workers:
        worker.start()
    ended, failed, count = 0, 0, collections.Counter()
    try:
        while ended < jobs:
            result = results.get()
            if result is None:
                ended += 1
                continue
            _, point, found, wrong = result
            if wrong:
                failed += 1
                print(f"{name}:{point}: {wrong}", flush=True)
            elif found:
                count["killed" if found[1] == 128 + signal.SIGKILL else "refused" if found[1] else "done nevertheless"] += 1
                count[found[0]] += 1
            else:
                count["not reached"] += 1
    finally:
        # also when this is interrupted: file systems are unmounted
        for worker in workers:
            if ended < jobs:
                worker.terminate()
            worker.join()
    print(f"{name}: " + ", ".join(f"{n} {what}" for what, n in sorted(count.items())), flush=True)
    if not failed and not only and (not count["killed"] or not count["refused"]):
        failed += 1
        print(f"{name}: nothing was killed, or nothing refused")
    return count["old"] + count["new"], failed


def main():
    asked = [argument.partition(":") for argument in sys.argv[1:]] or [(name, "", "") for name in scenarios]
    for name, _, _ in asked:
        if name not in scenarios and (name not in scenarios_of_web or "WEB" not in os.environ):
            sys.exit(f"inject.py: there is no scenario '{name}'\nhint: {' '.join(scenarios)}")
    if os.geteuid() != 0:
        sys.exit("inject.py: not root: file systems are mounted")
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    shm = Path("/dev/shm")
    passed, failed = 0, 0
    with tempfile.TemporaryDirectory(prefix="limpid-inject.", dir=os.environ.get("WORK") or (shm if shm.is_dir() else None)) as folder:
        for name, _, only in asked:
            done = try_scenario(name, only, Path(folder))
            passed, failed = passed + done[0], failed + done[1]
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
