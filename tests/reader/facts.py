"""Facts: what a source says of its cut, beside its tree.

Implements the facts of FORMAT.md §10 for directories and logs. A restore needs none of them; `list`
shows what a log has, and `check` holds them to their form.
"""

from primitives import Damage, field, require

TIMELINES_MAX = 64
DECIMAL, HEXADECIMAL, POSTGRESQL = 10, 16, 256


def known_facts(source, name):
    """Names damage of facts whose kind this reader knows."""
    if source.kind in KINDS:
        KINDS[source.kind](source.facts, f"{name} facts of {source.name!r}")


def optional(record, key, kind, name):
    return field(record, key, kind, name) if record.get(key) is not None else None


def pairs(record, key, name):
    found = optional(record, key, list, name) or []
    fits = all(isinstance(pair, list) and len(pair) == 2 for pair in found)
    fits = fits and all(isinstance(n, int) and n >= 0 for pair in found for n in pair)
    require(fits, name, f"key {key} is no list of pairs of numbers")
    return found


def timeline(id, name):
    require(isinstance(id, bytes) and len(id) == 16, name, "has a timeline that is none")


def check_directory(facts, name):
    field(facts, 0, bool, name)
    patterns = optional(facts, 1, list, name) or []
    fits = all(isinstance(pattern, str) for pattern in patterns)
    require(fits, name, "has a pattern that is no text")
    optional(facts, 2, bool, name)
    pairs(facts, 3, name)


def check_wal(facts, name):
    timeline(field(facts, 0, bytes, name), name)
    numbers = {key: optional(facts, key, int, name) for key in (1, 2, 3, 9, 11, 13)}
    fits = all(number >= 0 for number in numbers.values() if number is not None)
    require(fits, name, "has a number below 0")
    first, last = numbers[1], numbers[2]
    fits = (first is None) == (last is None) and (first is None or first <= last)
    require(fits, name, "has a first segment without a last, or after it")
    field(facts, 4, list, name)
    fits = all(start <= end for start, end in pairs(facts, 4, name))
    require(fits, name, "has a gap that ends before it starts")
    field(facts, 5, str, name), field(facts, 6, str, name)
    number = field(facts, 7, int, name)
    require(number in (DECIMAL, HEXADECIMAL, POSTGRESQL), name, f"has the numbering {number}")
    fork = optional(facts, 8, list, name)
    if fork is not None:
        fits = len(fork) == 2 and isinstance(fork[1], int) and fork[1] >= 0
        require(fits, name, "has a fork that is none")
        timeline(fork[0], name)
    earlier = optional(facts, 10, list, name) or []
    require(len(earlier) <= TIMELINES_MAX, name, "has too many earlier timelines")
    for id in earlier:
        timeline(id, name)
    if facts.get(12) is not None:
        timeline(facts[12], name)


KINDS = {"directory": check_directory, "wal": check_wal}


def shown(number, numbering):
    """A segment's number as names have it."""
    if numbering == POSTGRESQL:
        return f"{number >> 8:08X}{number & 0xFF:08X}"
    return f"{number:x}" if numbering == HEXADECIMAL else str(number)


def describe(source):
    """What `list` says of a source."""
    if source.kind != "wal":
        return source.name
    try:
        check_wal(source.facts, source.name)
    except Damage:
        return f"{source.name} (facts that cannot be read)"
    facts, numbering = source.facts, source.facts[7]
    run = "no closed segment"
    if facts.get(1) is not None:
        run = f"segments {shown(facts[1], numbering)} to {shown(facts[2], numbering)}"
    gaps = [
        shown(start, numbering) + (f" to {shown(end, numbering)}" if end > start else "")
        for start, end in facts[4]
    ]
    missing = f" without {', '.join(gaps)}" if gaps else ""
    return f"{source.name} ({run}{missing}, timeline {facts[0].hex()[:8]})"
