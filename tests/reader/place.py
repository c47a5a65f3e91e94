"""Puts entries into a directory of the machine that runs this.

What the document calls an entry (FORMAT.md §8) becomes a file, directory, symlink, fifo, socket or
device, with mode, times, owner, attributes, holes and hard links. What this user or file system
does not allow is said in `warnings` and left out.
"""

import os
import stat
from functools import partial

from content import pieces
from entry import BLOCK, CHANGED, CHARACTER, DIRECTORY, FIFO, FILE, NOT_STORED, SOCKET, SYMLINK

KINDS = {
    FIFO: stat.S_IFIFO,
    SOCKET: stat.S_IFSOCK,
    CHARACTER: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
}


class Placer:
    def __init__(self, packs, destination):
        self.packs, self.destination = packs, os.fsencode(destination)
        self.warnings, self.files, self.folders = [], {}, []

    def put(self, entry, path):
        """Makes the entry at `path` below the destination (itself if empty)."""
        place = os.path.join(self.destination, path) if path else self.destination
        if entry.flags & CHANGED:
            self.warn(path, "changed while it was read")
        if entry.flags & NOT_STORED and entry.type == FILE:
            self.warn(path, "its content is not stored")
            return
        if entry.flags & NOT_STORED:
            self.warn(path, "not all that it held is stored")
        if self.linked(entry, place):
            return
        if self.make(entry, path, place):
            self.own(entry, path, place)

    def own(self, entry, path, place):
        """Owner and attributes; then, as they may change them, mode and times."""
        self.attempt(path, "owner", lambda: os.lchown(place, entry.uid, entry.gid))
        for name, value in entry.xattrs:
            put = partial(os.setxattr, place, name, value, follow_symlinks=False)
            self.attempt(path, f"attribute {os.fsdecode(name)}", put)
        if entry.type == DIRECTORY:
            self.folders.append((entry, place))
        else:
            dress(entry, place)

    def finish(self):
        """Modes and times of directories, once nothing changes below them."""
        for entry, place in reversed(self.folders):
            dress(entry, place)

    def warn(self, path, what):
        self.warnings.append(f"{os.fsdecode(path)}: {what}")

    def attempt(self, path, what, call):
        try:
            call()
            return True
        except OSError as error:
            self.warn(path, f"{what}: {error.strerror}")
            return False

    def linked(self, entry, place):
        """Whether the entry is one more name of a file that is there."""
        if entry.same is None:
            return False
        first = self.files.setdefault(entry.same, place)
        if first != place:
            os.link(first, place, follow_symlinks=False)
        return first != place

    def make(self, entry, path, place):
        if entry.type == FILE:
            self.write(entry, place)
        elif entry.type == DIRECTORY:
            os.makedirs(place, exist_ok=not path)
        elif entry.type == SYMLINK:
            os.symlink(entry.target, place)
        else:
            mode, device = KINDS[entry.type] | 0o600, os.makedev(*entry.device)
            return self.attempt(path, "not made", lambda: os.mknod(place, mode, device))
        return True

    def write(self, entry, place):
        with open(place, "xb") as file:
            for offset, block in pieces(self.packs, entry):
                file.seek(offset)
                file.write(block)
            file.truncate(entry.size)


def dress(entry, place):
    if entry.type != SYMLINK:
        os.chmod(place, entry.mode)
    os.utime(place, ns=(entry.mtime, entry.mtime), follow_symlinks=False)
