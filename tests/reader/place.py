"""Puts entries into a directory of the machine that runs this.

What the document calls an entry (FORMAT.md §8) becomes a file, directory, symlink, fifo, socket or
device, with mode, times, owner, attributes, holes and hard links. What this user or file system
does not allow is said in `warnings` and left out. Nothing is named by its whole path, which may be
longer than the system takes, but by its name in its folder.
"""

import fcntl
import os
import stat
import struct
from functools import partial

from content import pieces
from entry import (
    BLOCK,
    CHANGED,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    INODE_FLAG_WORDS,
    INODE_FLAGS,
    LACKS_ATTRIBUTES,
    NAME,
    NOT_STORED,
    SOCKET,
    SYMLINK,
)

KINDS = {
    FIFO: stat.S_IFIFO,
    SOCKET: stat.S_IFSOCK,
    CHARACTER: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
}
# ioctl(2) numbers of 64-bit Linux that read and set inode flags.
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


NOT_STORED_WORDS = {
    FILE: "its content is not stored",
    DIRECTORY: "could not be listed: not all that it held is stored",
    NAME: "could not be looked at: nothing but its name is stored",
}


class Folders:
    """Opens folders below a directory one component after the other; keeps the last one open."""

    def __init__(self, top):
        self.top, self.path, self.open = top, b"", os.dup(top)

    def parent(self, path):
        """The folder that a path is in, open until the next call, and the path's last part."""
        folder, _, name = path.rpartition(b"/")
        if folder != self.path:
            os.close(self.open)
            self.path, self.open = folder, os.dup(self.top)
            for part in folder.split(b"/") if folder else ():
                outer = self.open
                self.open = os.open(part, OPEN_FOLDER, dir_fd=outer)
                os.close(outer)
        return self.open, name or b"."


class Placer:
    def __init__(self, packs, destination):
        os.makedirs(destination, exist_ok=True)
        top = os.open(destination, OPEN_FOLDER)
        self.packs, self.places, self.firsts = packs, Folders(top), Folders(top)
        self.warnings, self.files, self.folders, self.flagged = [], {}, [], []

    def put(self, entry, path):
        """Makes the entry at `path` below the destination (itself if empty)."""
        if entry.flags & CHANGED:
            self.warn(path, "changed while it was read")
        if entry.flags & LACKS_ATTRIBUTES:
            self.warn(path, "has attributes that could not be read and are not stored")
        if entry.flags & NOT_STORED:
            self.warn(path, NOT_STORED_WORDS.get(entry.type, "could not be read"))
        if entry.type == NAME or entry.type == FILE and entry.flags & NOT_STORED:
            return
        if self.linked(entry, path) or not self.make(entry, path):
            return
        if entry.flags & INODE_FLAGS:
            self.flagged.append((entry, path))
        if entry.type == DIRECTORY:
            self.folders.append((entry, path))
        else:
            self.dress(entry, path)

    def finish(self):
        """Directories get theirs once nothing changes below them; an inode flag may forbid all more."""
        for entry, path in reversed(self.folders):
            self.dress(entry, path)
        for entry, path in reversed(self.flagged):
            bits = [bit for bit in INODE_FLAG_WORDS if entry.inode_flags & bit]
            what = "inode flags " + ", ".join(INODE_FLAG_WORDS[bit] for bit in bits)
            self.attempt(path, what, partial(self.set_inode_flags, path, entry.inode_flags))

    def dress(self, entry, path):
        """Owner and attributes; then, as they may change them, mode and times."""
        folder, name = self.places.parent(path)
        at = {"dir_fd": folder, "follow_symlinks": False}
        self.attempt(path, "owner", lambda: os.chown(name, entry.uid, entry.gid, **at))
        for key, value in entry.xattrs:
            place = b"/proc/self/fd/%d/%s" % (folder, name)
            put = partial(os.setxattr, place, key, value, follow_symlinks=False)
            self.attempt(path, f"attribute {os.fsdecode(key)}", put)
        if entry.type != SYMLINK:
            os.chmod(name, entry.mode, dir_fd=folder)
        os.utime(name, ns=(entry.mtime, entry.mtime), **at)

    def set_inode_flags(self, path, flags):
        folder, name = self.places.parent(path)
        at = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            own = struct.unpack("q", fcntl.ioctl(at, GET_FLAGS, bytes(8)))[0]
            fcntl.ioctl(at, SET_FLAGS, struct.pack("q", own | flags))
        finally:
            os.close(at)

    def warn(self, path, what):
        self.warnings.append(f"{os.fsdecode(path)}: {what}")

    def attempt(self, path, what, call):
        try:
            call()
            return True
        except OSError as error:
            self.warn(path, f"{what}: {error.strerror}")
            return False

    def linked(self, entry, path):
        """Whether the entry is one more name of a file that is there."""
        if entry.one_file is None:
            return False
        first = self.files.setdefault(entry.one_file, path)
        if first == path:
            return False
        (source, old), (folder, name) = self.firsts.parent(first), self.places.parent(path)
        os.link(old, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        return True

    def make(self, entry, path):
        folder, name = self.places.parent(path)
        if entry.type == FILE:
            self.write(entry, folder, name)
        elif entry.type == DIRECTORY and path:
            os.mkdir(name, dir_fd=folder)
        elif entry.type == SYMLINK:
            os.symlink(entry.target, name, dir_fd=folder)
        elif entry.type in KINDS:
            mode, device = KINDS[entry.type] | 0o600, os.makedev(*entry.device)
            put = partial(os.mknod, name, mode, device, dir_fd=folder)
            return self.attempt(path, "not made", put)
        return True

    def write(self, entry, folder, name):
        with open(name, "xb", opener=partial(os.open, mode=0o600, dir_fd=folder)) as file:
            for offset, block in pieces(self.packs, entry):
                file.seek(offset)
                file.write(block)
            file.truncate(entry.size)
