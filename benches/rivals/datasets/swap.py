"""Source code that is new, though it was made from other source code.

Swapping identifiers line by line changes every few dozen bytes and keeps what a compressor sees:
the alphabet, the indentation, the keywords, the length of lines.
"""

import random
import re

IDENTIFIER = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{3,}")
CHANGED_LINES = 0.4


def swap_identifiers(content: bytes, rng: random.Random) -> bytes:
    """Swaps two identifiers of a line, or lends it one of a line before, in four lines of ten."""
    lines = content.split(b"\n")
    lender = b"lender"
    for number, line in enumerate(lines):
        if rng.random() >= CHANGED_LINES:
            continue
        found = list(IDENTIFIER.finditer(line))
        if len(found) >= 2:
            lines[number] = swapped(line, *sorted(rng.sample(found, 2), key=re.Match.start))
        elif found:
            lines[number] = line[: found[0].start()] + lender + line[found[0].end() :]
        if found:
            lender = found[0].group()
    return b"\n".join(lines)


def swapped(line: bytes, left: re.Match, right: re.Match) -> bytes:
    """The line with two of its identifiers in each other's place."""
    parts = (line[: left.start()], right.group(), line[left.end() : right.start()], left.group(), line[right.end() :])
    return b"".join(parts)
