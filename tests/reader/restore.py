"""Reads a Backstay repository that lies in a directory.

    restore.py REPOSITORY KEY_FILE SNAPSHOT[:SOURCE[/PATH]] DESTINATION
    restore.py list REPOSITORY KEY_FILE
    restore.py ls REPOSITORY KEY_FILE SNAPSHOT[:SOURCE[/PATH]]
    restore.py check REPOSITORY KEY_FILE

KEY_FILE is a recovery key (age identities or an SSH key) or an agent key, which lists but can't
restore; BACKSTAY_PASSPHRASE opens a wrapped one. `-` is a passphrase without a key file. SNAPSHOT
is the beginning of an id, or `latest`: the newest of a series (one job on one host), with a source
the newest that has it. Where several series fit, it is refused, and their newest are listed. A whole
snapshot is restored to DESTINATION/SOURCE, anything less into DESTINATION, which has to be empty or
missing.

Exits with 0, 2 (wrong use, wrong key, or a newer repository), 3 (restored, but for what the warnings
name) or 6 (damage, one line for each).

Written from src/repo/FORMAT.md alone. This file holds the command line, from which to read on:
config.py opens the repository, snapshots.py finds the restore point, tree.py its entries,
content.py their bytes, and place.py puts them down.
"""

import os
import sys

from check import check
from config import open_repository
from entry import DIRECTORY
from facts import describe
from listing import line, said_series, show
from packs import Packs
from place import Placer
from primitives import Damage, Newer, Refused
from snapshots import all_snapshots, choose
from store import Store
from tree import walk

def warn(what):
    print(f"warning: {what}", file=sys.stderr)


class Repository:
    def __init__(self, directory, key_file):
        self.store = Store(directory)
        self.keys, self.foreign = open_repository(self.store, key_file)
        for error in self.foreign:
            warn(f"{error}; reading goes on with an older config")
        self.packs = Packs(self.store, self.keys)

    def sources(self, words):
        """Per source asked for: where it goes, and its (path to restore to, entry) in order."""
        snapshot, name, path = choose(self.store, self.keys, words, warn)
        if name and name not in snapshot.sources:
            raise Refused(f"{words}: the snapshot has no source {name!r}")
        for source in [snapshot.sources[name]] if name else snapshot.sources.values():
            yield "" if name else source.name, self.entries(source, os.fsencode(path.rstrip("/")))

    def entries(self, source, path):
        found = False
        for entry in walk(self.packs, source.root, path):
            found = True
            yield destination(path, entry), entry
        if not found:
            raise Refused(f"{os.fsdecode(path)}: there is no such path")


def destination(path, entry):
    """The path from the directory that was asked for; a file asked for keeps its name."""
    if entry.path != path:
        return entry.path[len(path) + bool(path) :]
    return b"" if entry.type == DIRECTORY else path.rpartition(b"/")[2]


def do_list(repository):
    snapshots, damage = all_snapshots(repository.store, repository.keys, warn)
    for one in snapshots:
        sources = " ".join(describe(source) for source in one.sources.values())
        partial = " partial" if one.partial else ""
        print(f"{one.id}  {show(one.finished)}  {said_series(one)}  {sources}{partial}")
    return damage


def do_ls(repository, words):
    for base, entries in repository.sources(words):
        for path, one in entries:
            print(line(one, os.path.join(base, os.fsdecode(path)).rstrip("/") or "."))
    return []


def do_check(repository):
    found = check(repository.store, repository.keys, repository.packs)
    return [error for error in repository.foreign if isinstance(error, Damage)] + found


def do_restore(repository, words, to):
    if not repository.keys.identities:
        raise Refused("this is an agent key: it shows names, but content needs a recovery key")
    os.makedirs(to, exist_ok=True)
    if os.listdir(to):
        raise Refused(f"{to} is not empty")
    complete = True
    for base, entries in repository.sources(words):
        placer = Placer(repository.packs, os.path.join(to, base))
        for path, entry in entries:
            placer.put(entry, path)
        placer.finish()
        for warning in placer.warnings:
            warn(os.path.join(base, warning))
        complete = complete and not placer.warnings
    return [] if complete else INCOMPLETE


INCOMPLETE = None  # what a restore returns in place of damage, if it had to warn
COMMANDS = {"list": (do_list, 2), "ls": (do_ls, 3), "check": (do_check, 2)}


def main(arguments):
    command, count = COMMANDS.get(arguments[0] if arguments else "", (do_restore, 4))
    arguments = arguments if command is do_restore else arguments[1:]
    if len(arguments) != count:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        damage = command(Repository(*arguments[:2]), *arguments[2:])
    except Damage as error:
        damage = [error]
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if damage is INCOMPLETE:
        return 3
    for error in damage:
        word = "newer" if isinstance(error, Newer) else "damaged"
        print(f"{word}: {error}", file=sys.stderr)
    newer = all(isinstance(error, Newer) for error in damage)
    return (2 if newer else 6) if damage else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
