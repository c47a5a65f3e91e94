"""What a restore has to give, and whether it did, for the self-test alone.

`manifest` says it for people and programs; `compare` holds a restored directory against it.
"""

import contextlib
import hashlib
import os
import stat

from entry import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    INCOMPLETE,
    INODE_FLAGS,
    NAME,
    NOT_STORED,
    SOCKET,
    SYMLINK,
)

NAMES = {FILE: "file", DIRECTORY: "directory", SYMLINK: "symlink", FIFO: "fifo"}
NAMES |= {SOCKET: "socket", CHARACTER: "character device", BLOCK: "block device", NAME: "name"}
ROOT = os.geteuid() == 0


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
    if entry.one_file:
        found["same_file"] = hashlib.sha256(repr(entry.one_file).encode()).hexdigest()[:16]
    if entry.inode_flags:
        found["inode_flags"] = entry.inode_flags
    return found


def compare(folder, stated):
    """The restored directory against the manifest of its source."""
    files, seen = {}, set()
    for one in stated:
        path = os.path.join(os.fsencode(folder), bytes.fromhex(one["path_hex"]))
        seen.add(path.rstrip(b"/"))
        if not_made(one):
            assert not os.path.lexists(path), path
        elif ROOT or "device" not in one["type"]:
            compare_one(path, one)
            file = one.get("same_file", path)
            assert files.setdefault(os.lstat(path).st_ino, file) == file, path
    for here, folders, names in os.walk(os.fsencode(folder)):
        assert {os.path.join(here, name) for name in folders + names} <= seen
    made = [file for file in files.values() if isinstance(file, str)]
    assert len(made) == len(set(made)), "names of one file were not linked"


def not_made(one):
    """Whether a restore makes nothing of this entry."""
    return one["type"] == "name" or one["type"] == "file" and one["flags"] & NOT_STORED


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


def troubled(one):
    """Whether a restore as root may warn of it; a file system without inode flags is no fault."""
    return bool(one["flags"] & (INCOMPLETE | INODE_FLAGS))


def named(one, errors):
    """Whether the warnings name what is incomplete."""
    return not one["flags"] & INCOMPLETE or f"{one['path']}: " in errors
