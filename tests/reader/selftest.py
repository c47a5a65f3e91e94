"""Proves the reader on a repository of its own making.

    selftest.py              writes the sample anew in a temporary place, reads it, damages it
    selftest.py --all        the same with every damage, not one in eleven
    selftest.py --write DIR  writes the sample there, with a manifest of what it has to give

Also reads sample/, which was written once and is kept. Needs no root, but with it does more: owners
and devices are then compared too.
"""

import contextlib
import hashlib
import io
import json
import os
import stat
import sys
import tempfile

import crimes
import damage
import restore
from entry import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, NOT_STORED, SOCKET, SYMLINK
from sample import PASSPHRASE, build

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = {FILE: "file", DIRECTORY: "directory", SYMLINK: "symlink", FIFO: "fifo"}
NAMES |= {SOCKET: "socket", CHARACTER: "character device", BLOCK: "block device"}
KEYS = ("recovery.ssh", "recovery-wrapped.key", "-")
ROOT = os.geteuid() == 0


def run(*arguments):
    """Exit code, output and errors of the reader."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = restore.main(list(arguments))
    return code, out.getvalue(), err.getvalue()


def manifest(expected):
    """Per snapshot, source and path, what a restore has to give."""
    return {
        snapshot: {name: [describe(*pair) for pair in files] for name, files in sources.items()}
        for snapshot, sources in expected.items()
    }


def describe(entry, data):
    path = entry.path.decode(errors="replace")
    found = {"path": path, "path_hex": entry.path.hex(), "type": NAMES[entry.type]}
    found |= {"mode": f"{entry.mode:04o}", "mtime": entry.mtime, "size": entry.size}
    found |= {"uid": entry.uid, "gid": entry.gid, "flags": entry.flags}
    if data is not None:
        found["sha256"] = hashlib.sha256(data).hexdigest()
    if entry.type == SYMLINK:
        found["target_hex"] = entry.target.hex()
    if entry.device != (0, 0):
        found["device"] = list(entry.device)
    if entry.xattrs:
        found["xattrs_hex"] = {name.decode(): value.hex() for name, value in entry.xattrs}
    if entry.same:
        found["same_file"] = f"{entry.same[0]}:{entry.same[1]}"
    return found


def compare(folder, stated):
    """The restored directory against the manifest of its source."""
    links, seen = {}, set()
    for one in stated:
        path = os.path.join(os.fsencode(folder), bytes.fromhex(one["path_hex"]))
        seen.add(path.rstrip(b"/"))
        if one["flags"] & NOT_STORED:
            assert not os.path.lexists(path), path
        elif ROOT or "device" not in one["type"]:
            compare_one(path, one)
            inode = os.lstat(path).st_ino
            assert links.setdefault(one.get("same_file"), inode) == inode or "same_file" not in one
    for here, folders, files in os.walk(os.fsencode(folder)):
        assert {os.path.join(here, name) for name in folders + files} <= seen


def compare_one(path, one):
    found = os.lstat(path)
    assert found.st_mtime_ns == one["mtime"], path
    if one["type"] != "symlink":
        assert f"{stat.S_IMODE(found.st_mode):04o}" == one["mode"], path
    if ROOT:
        assert (found.st_uid, found.st_gid) == (one["uid"], one["gid"]), path
    if "target_hex" in one:
        assert os.readlink(path).hex() == one["target_hex"], path
    if "device" in one:
        assert [os.major(found.st_rdev), os.minor(found.st_rdev)] == one["device"], path
    for name, value in one.get("xattrs_hex", {}).items():
        with contextlib.suppress(OSError):  # a file system without attributes
            assert os.getxattr(path, name).hex() == value, path
    if "sha256" in one:
        with open(path, "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == one["sha256"], path
        holes = one["flags"] & 4 and one["size"] > 500_000
        assert not holes or found.st_blocks * 512 < one["size"] // 2, path


def restores(folder, stated, key="recovery.key"):
    """All snapshots of the sample come back as the manifest says."""
    repository = os.path.join(folder, "repository")
    key = key if key == "-" else os.path.join(folder, key)
    for snapshot, sources in stated.items():
        with tempfile.TemporaryDirectory() as to:
            code, _, errors = run(repository, key, snapshot, to)
            assert code == 0, errors
            for name, files in sources.items():
                compare(os.path.join(to, name), files)
            assert sorted(os.listdir(to)) == sorted(sources)


def selections(folder):
    """The ways to say what to restore, and what an agent key may not."""
    repository, key, agent = (
        os.path.join(folder, name) for name in ("repository", "recovery.key", "agent.key")
    )
    expected = {
        "latest:pages": ["database"],
        "latest:partial/changed": ["changed"],
        "latest:files/deep/er": ["fifo", "loop", "socket", "tty"],
        "latest:files/deep/zipped": ["zipped"],
    }
    for words, names in expected.items():
        with tempfile.TemporaryDirectory() as to:
            code, _, errors = run(repository, key, words, to)
            assert code == 0, errors
            assert set(os.listdir(to)) <= set(names) | {"tty", "loop"}, words
        code, listed, _ = run("ls", repository, agent, words)
        assert code == 0 and all(name in listed for name in names), words
    for words in ("latest:none", "latest:pages/none", "00", "latest:sample:pages"):
        assert run("ls", repository, key, words)[0] == 2, words
    assert len(run("list", repository, agent)[1].splitlines()) == 2
    code, _, errors = run(repository, agent, "latest", os.path.join(folder, "none"))
    assert code == 2 and "agent key" in errors
    code, _, errors = run("list", repository, os.path.join(folder, "agent-old.key"))
    assert code == 2 and "repository secret 1" in errors
    assert run("list", repository, __file__)[0] == 2


def main(arguments):
    os.environ["BACKSTAY_PASSPHRASE"] = PASSPHRASE
    if arguments[:1] == ["--write"]:
        sample = build(arguments[1])
        with open(os.path.join(arguments[1], "manifest.json"), "w", encoding="utf-8") as file:
            json.dump(manifest(sample.expected), file, indent=1)
        return
    with open(os.path.join(HERE, "sample", "manifest.json"), encoding="utf-8") as file:
        restores(os.path.join(HERE, "sample"), json.load(file))
    with tempfile.TemporaryDirectory() as place:
        folder = os.path.join(place, "sample")
        stated = manifest(build(folder).expected)
        restores(folder, stated)
        for key in KEYS:
            restores(folder, dict(list(stated.items())[-1:]), key)
        selections(folder)
        repository = os.path.join(folder, "repository")
        for key in ("recovery.key", "agent.key"):
            assert run("check", repository, os.path.join(folder, key))[0] == 0
        share = 1 if arguments == ["--all"] else 11
        print(damage.damage_everything(folder, run, share), "damages found")
        print(damage.exceed_limits(folder, run), "objects found too large")
    print(crimes.break_every_rule(run), "broken rules found")


if __name__ == "__main__":
    main(sys.argv[1:])
