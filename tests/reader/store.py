"""Objects in a local directory and the shape of their names.

Implements FORMAT.md §2. A key is a path below the directory; unfinished files (`.tmp-…`) and
names that are not in the table of §2 are passed over.
"""

import os
import re

from primitives import Damage, require

HEX8, HEX16, HEX24, HEX32 = (f"[0-9a-f]{{{n}}}" for n in (8, 16, 24, 32))
TAIL = f"({HEX16})-({HEX16})-({HEX24})"
SHAPES = {
    "config": re.compile(f"config/({HEX16})"),
    "session": re.compile(f"session/({HEX32})/{TAIL}"),
    "snapshot": re.compile(f"snapshot/({HEX32})/{TAIL}"),
    "pack": re.compile(f"pack/({HEX24})/({HEX8})-({HEX16})"),
    "index": re.compile(f"index/({HEX24})-([0-9a-f]{{4}})"),
    "checkpoint": re.compile(f"checkpoint/({HEX16})"),
}


def inverted(number):
    return f"{2**64 - 1 - number:016x}"


def invert(digits):
    return 2**64 - 1 - int(digits, 16)


def parts(name):
    """The parts of a well-formed name, or None."""
    shape = SHAPES.get(name.partition("/")[0])
    match = shape and shape.fullmatch(name)
    return match and match.groups()


def pack_name(pack):
    digits = pack.hex()
    return f"pack/{digits[:24]}/{digits[24:32]}-{digits[32:]}"


def pack_id(name):
    return bytes.fromhex("".join(parts(name)))


class Store:
    def __init__(self, directory):
        self.directory = directory

    def names(self, folder):
        """All well-formed names under `folder`, sorted."""
        found = []
        for here, _, files in os.walk(os.path.join(self.directory, folder)):
            below = os.path.relpath(here, self.directory)
            found += [f"{below}/{file}" for file in files if not file.startswith(".tmp-")]
        return sorted(name for name in found if parts(name))

    def size(self, name):
        try:
            return os.stat(os.path.join(self.directory, name)).st_size
        except OSError:
            raise Damage(name, "is missing") from None

    def read(self, name, offset, length):
        """Exactly that range."""
        require(offset + length <= self.size(name), name, "ends early")
        with open(os.path.join(self.directory, name), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def whole(self, name, most):
        size = self.size(name)
        require(size <= most, name, f"is larger than {most} bytes")
        return self.read(name, 0, size)
