"""Flips and cuts every object of a repository, for the self-test alone: none may get through."""

import contextlib
import os

LIMITS = {"config": 1 << 20, "session": 1 << 20, "snapshot": 256 << 20, "checkpoint": 256 << 20}


def damage_everything(folder, run, share):
    """How many damages were made, and found by `check`: one in `share` of all there are, spread over
    objects and ways."""
    repository, key = (os.path.join(folder, name) for name in ("repository", "recovery.key"))
    seen = count = 0
    for here, _, files in sorted(os.walk(repository)):
        for file in sorted(files):
            path = os.path.join(here, file)
            if file.startswith(".tmp-"):
                continue
            name = os.path.relpath(path, repository)
            for what, change in changes(path, name):
                seen += 1
                if seen % share:
                    continue
                with changed(path, change):
                    code, _, errors = run("check", repository, key)
                assert code in allowed(name, what), (name, what, code, errors)
                assert name in errors or code == 2, (name, what, errors)
                count += 1
    return count


def changes(path, name):
    """(what, function from bytes to bytes) to try on an object."""
    size = os.path.getsize(path)
    places = {0, *range(8, 13), 30, 60, 86, size // 3, size // 2, size - 70, size - 1}
    for at in sorted(place for place in places if 0 <= place < size):
        yield f"flip {at}", lambda data, at=at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    for length in (0, 8, 40, size // 2, size - 1):
        yield f"cut {length}", lambda data, length=length: data[:length]
    yield "longer", lambda data: data + b"\0"


def allowed(name, what):
    """Exit codes. A flipped version is not to be told from a newer repository, and a flipped
    envelope not from a wrong key."""
    return {2, 6} if name.startswith("config/") or what == "flip 9" else {6}


@contextlib.contextmanager
def changed(path, change):
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(change(data))
    try:
        yield
    finally:
        with open(path, "wb") as file:
            file.write(data)


def exceed_limits(folder, run):
    """Objects that are larger than §14 allows; they are all hole, and must not be read."""
    repository, key = (os.path.join(folder, name) for name in ("repository", "recovery.key"))
    count = 0
    for kind, limit in (LIMITS | {"pack": (1 << 32) - 1}).items():
        path = newest(os.path.join(repository, kind))
        size = os.path.getsize(path)
        os.truncate(path, limit + 1)
        code, _, errors = run("check", repository, key)
        os.truncate(path, size)
        assert code == 6 and "large" in errors, (kind, errors)
        count += 1
    return count


def newest(folder):
    """The first object below."""
    for here, _, files in sorted(os.walk(folder)):
        for file in sorted(files):
            if not file.startswith(".tmp-"):
                return os.path.join(here, file)
    raise AssertionError(folder)
