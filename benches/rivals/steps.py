"""The race over one data set: all tools take a step before any takes the next.

So all see identical data, and a change is made once for all. Copying, changing, warming, syncing
and verifying happen between the measurements, never inside one. So does deleting, and only after
the last step: a file system may take its time to use the inodes of deleted files again (ext4 without
a journal passes over each of them for minutes), and the next tool's restore would pay for it.
"""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import verify
from measure import MIB, Command, ToolFailed, launch, stored_bytes, take, warm
from tools.bed import Bed

FIRST, UNCHANGED, UNCACHED, CHANGED, RESTORE = STEPS = ("first", "unchanged", "uncached", "changed", "restore")
TITLES = {
    FIRST: "first backup",
    UNCHANGED: "unchanged, warm cache",
    UNCACHED: "unchanged, cache deleted",
    CHANGED: "changed",
    RESTORE: "restore of the latest",
}
BACKUPS = {FIRST: 1, UNCHANGED: 2, UNCACHED: 3, CHANGED: 4}


@dataclass
class Figures:
    """What one tool needed for one step, in the units of the report."""

    wall_s: float
    wall_sync_s: float
    cpu_s: float
    peak_mib: float
    repository_mib: float
    new_mib: float | None = None


class Contestant:
    """A tool at its bed. After a failure it takes no further step: its repository proves nothing."""

    def __init__(self, tool, program: str, root: Path, log: Path):
        self.tool = tool
        self.bed = Bed(root / tool.NAME, program, log)
        self.failure: str | None = None

    def command(self, arguments: list[str], directory: Path | None = None) -> Command:
        environment = self.bed.environment() | self.tool.environment(self.bed)
        return Command([self.bed.program, *arguments], environment, directory or self.bed.home)

    def prepare(self) -> None:
        self.bed.lay()
        for arguments in self.tool.prepare(self.bed):
            launch(self.command(arguments), self.bed.log)

    def backup(self, live: Path, step: str) -> Figures:
        if step == FIRST:
            self.prepare()
        if step == UNCACHED:
            self.bed.delete_cache()
        before_bytes = stored_bytes(self.bed.repository)
        warm(live)
        warm(self.bed.repository)
        arguments = self.tool.backup(self.bed, live, BACKUPS[step])
        taken = take(self.command(arguments), self.bed.log, self.bed.root)
        after_bytes = stored_bytes(self.bed.repository)
        return figures(taken, after_bytes, None if step == FIRST else after_bytes - before_bytes)

    @property
    def destination(self) -> Path:
        return self.bed.root.with_suffix(".restored")

    def restore(self, live: Path) -> Figures:
        to = self.destination
        to.mkdir()
        warm(self.bed.repository)
        arguments = self.tool.restore(self.bed, live, to, BACKUPS[CHANGED])
        taken = take(self.command(arguments, to), self.bed.log, to)
        found = verify.difference(live, self.tool.restored(live, to))
        if found:
            raise ToolFailed(f"the restore is not what was backed up: {found}")
        return figures(taken, stored_bytes(self.bed.repository), None)

    def clear(self) -> None:
        """Gives the disk back."""
        self.bed.clear()
        shutil.rmtree(self.destination, ignore_errors=True)


def figures(taken, repository_bytes: int, new_bytes: int | None) -> Figures:
    """Brings a measurement into the report's units."""
    new_mib = None if new_bytes is None else new_bytes / MIB
    wall_sync_s = taken.wall_s + taken.sync_s
    return Figures(taken.wall_s, wall_sync_s, taken.cpu_s, taken.peak_mib, repository_bytes / MIB, new_mib)


def race(name: str, contestants: list[Contestant], place: Path, options, say) -> dict:
    """One round over one data set: figures by step and tool, failures, and facts of the change."""
    tree, facts = datasets.ensure(name, options.scale, options.work)
    # One path for all rounds and tools: paths are part of what tools store and compare.
    live = place / "live" / "data"
    clear(contestants, live)
    datasets.copy(tree, live)
    steps: dict[str, dict[str, Figures]] = {step: {} for step in STEPS}
    changed: dict = {}
    try:
        for step in STEPS:
            if step == CHANGED:
                changed = datasets.ALL[name].change(live, options.scale, options.run_pages)
            for contestant in contestants:
                if not contestant.failure:
                    say(f"{name}: {TITLES[step]}: {contestant.tool.NAME}")
                    attempt(contestant, live, step, steps[step])
    finally:
        clear(contestants, live)
    failures = {one.tool.NAME: one.failure for one in contestants if one.failure}
    return {"facts": facts, "changed": changed, "steps": steps, "failures": failures}


def attempt(contestant: Contestant, live: Path, step: str, into: dict[str, Figures]) -> None:
    """One step of one tool; a failure is kept in words, with no figure beside it."""
    try:
        done = contestant.restore(live) if step == RESTORE else contestant.backup(live, step)
    except ToolFailed as error:
        contestant.failure = f"{TITLES[step]}: {error}"
        return
    into[contestant.tool.NAME] = done


def clear(contestants: list[Contestant], live: Path) -> None:
    """Gives the disk back, and lets the deletions reach it."""
    for contestant in contestants:
        contestant.clear()
    shutil.rmtree(live.parent, ignore_errors=True)
    os.sync()


def as_plain(result: dict) -> dict:
    """A round's result as JSON can hold it."""
    steps = {step: {tool: asdict(row) for tool, row in rows.items()} for step, rows in result["steps"].items()}
    return result | {"steps": steps}
