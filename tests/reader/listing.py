"""Entries, times and series as people read them."""

import os
import stat
from datetime import UTC, datetime

from entry import (
    BLOCK,
    CHANGED,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    INODE_FLAG_WORDS,
    LACKS_ATTRIBUTES,
    LEFT_OUT,
    NAME,
    NOT_STORED,
    SOCKET,
    SYMLINK,
)

TYPES = (FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK, NAME)
LETTERS = dict(zip(TYPES, "-dlpscb?", strict=True))
MARKS = {CHANGED: "changed while read", NOT_STORED: "not stored", LEFT_OUT: "left out"}
MARKS |= {LACKS_ATTRIBUTES: "lacks attributes"}


def line(one, path):
    names = f"{one.user or one.uid}:{one.group or one.gid}"
    mode = LETTERS[one.type] + stat.filemode(one.mode)[1:]
    arrow = f" -> {os.fsdecode(one.target)}" if one.type == SYMLINK else ""
    marks = [word for flag, word in MARKS.items() if one.flags & flag]
    marks += [word for bit, word in INODE_FLAG_WORDS.items() if one.inode_flags & bit]
    marked = f" ({', '.join(marks)})" if marks else ""
    return f"{mode} {names} {one.size:>12} {show(one.mtime)} {path}{arrow}{marked}"


def show(nanoseconds):
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def said_series(snapshot):
    """A series for people: a backup without a policy is named by its sources."""
    names = snapshot.job.strip("\0").split("\0")
    job = ", ".join(names) if snapshot.job.startswith("\0") else f"job {names[0]}"
    return f"{job} on host {snapshot.host}"
