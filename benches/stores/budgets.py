"""What is asked of a store: a cold pod's backup, ten unchanged sources, one file out of a million.

Repositories are made through the server's own port; what counts goes through the counting proxy. All
caches are deleted before, but where a table says that they are warm.
"""

import filecmp
import shutil
import textwrap
from pathlib import Path

import data
import datasets
import judged
from counting import CountingProxy, Request, by_kind
from measure import MIB, Taken, ToolFailed
from places import Contestant, at_s3
from servers import BUCKET, Seaweed, seaweed

US = "backstay"
COLD, TEN, ONE = "cold", "ten", "one"
TOOLS = (US, "restic", "rustic")
COLUMNS = {"requests": 0, "GET": 0, "LIST": 0, "PUT": 0, "other": 0, "MiB read": 2, "MiB sent": 2, "wall s": 2}
# Each judged by requests and, but for ten sources, by MiB read.
COLD_LIMITS, ONE_LIMITS, TEN_REQUESTS = (200, 16.0), (12, 8.0), 10


class Course:
    """The contestants over one data set: how each made its repository, and what each step cost it."""

    def __init__(self, label: str, found: dict, options, server: Seaweed, proxy: CountingProxy):
        self.label, self.options, self.server, self.proxy = label, options, server, proxy
        self.tree, self.facts = datasets.ensure(label, options.scale, options.work)
        self.ground = options.work / "ground" / label
        logs = options.work / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.contestants = [
            Contestant(name, found[name].program, self.ground / "beds", logs / f"{label}-{name}.log")
            for name in TOOLS
            if name in found
        ]
        self.failures: dict[str, str] = {}

    def place(self, name: str, port: int):
        return at_s3(name, self.server, port, self.base(name), None)

    def base(self, name: str) -> str:
        return f"{self.label}-{name}"

    def standing(self) -> list[Contestant]:
        return [one for one in self.contestants if one.name not in self.failures]

    def prepare(self, paths: list[Path]) -> list[str]:
        """Repositories with a first backup, past the proxy."""
        rows = {}
        for one in self.standing():
            try:
                place = self.place(one.name, self.server.port)
                one.prepare(place)
                taken = one.backup(place, paths, 1, self.server.root)
                rows[one.name] = [taken.wall_s, taken.cpu_s, taken.peak_mib]
            except ToolFailed as error:
                self.failures[one.name] = f"first backup: {error}"
        columns = {"wall s": 1, "CPU s": 1, "peak MiB": 0}
        title = f"{self.label}: first backup of {self.facts['files']:,} files, {self.facts['bytes'] / MIB:,.0f} MiB"
        return ["", *judged.table(title, columns, rows)]

    def counted(self, title: str, act, cold: bool = True) -> tuple[list[str], dict[str, list[Request]]]:
        """A step of all: `act` is called with a contestant and its place behind the proxy."""
        rows, counts, kinds = {}, {}, []
        for one in self.standing():
            if cold:
                one.bed.delete_cache()
            self.proxy.take()
            try:
                taken = act(one, self.place(one.name, self.proxy.port))
            except ToolFailed as error:
                self.failures[one.name] = f"{title}: {error}"
                continue
            counts[one.name] = requests = self.proxy.take()
            rows[one.name] = row(requests, taken)
            kinds += told(one.name, requests, self.base(one.name))
        return ["", *judged.table(title, COLUMNS, rows), *kinds], counts


def row(requests: list[Request], taken: Taken) -> list[float]:
    """The columns of a step."""
    methods = [one.kind(BUCKET, "").split(" ")[0] for one in requests]
    # A listing of one is billed as one.
    by_method = [methods.count("GET"), methods.count("LIST") + methods.count("FIRST"), methods.count("PUT")]
    return [
        len(requests),
        *by_method,
        len(requests) - sum(by_method),
        read_mib(requests),
        sum(one.sent_bytes for one in requests) / MIB,
        taken.wall_s,
    ]


def read_mib(requests: list[Request]) -> float:
    """All that was received, heads and listings too."""
    return sum(one.received_bytes for one in requests) / MIB


def told(name: str, requests: list[Request], base: str) -> list[str]:
    """What the requests were for, and how much came back, or for PUT went out."""
    words = []
    for kind, (number, received_bytes, sent_bytes) in by_kind(requests, BUCKET, base).items():
        size_bytes = sent_bytes if kind.startswith("PUT") else received_bytes
        words.append(f"{kind} {number} ({size_bytes / 1024:,.0f} KiB)")
    text = f"{name}: {', '.join(words)}"
    return textwrap.wrap(text, 116, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False)


def run(wanted: list[str], found: dict, options) -> tuple[list[str], list[judged.Verdict], int]:
    """The wanted ones of cold, ten and one."""
    lines, verdicts, failures = [], [], 0
    with seaweed(options.work / "ground" / "counted-seaweed") as server, CountingProxy(server.port) as proxy:
        if COLD in wanted or ONE in wanted:
            course = Course("million", found, options, server, proxy)
            lines += course.prepare([course.tree])
            lines.append(chunks(course))
            for name, step in ((COLD, cold), (ONE, one_file)):
                if name in wanted:
                    told_lines, judgements = step(course)
                    lines, verdicts = lines + told_lines, verdicts + judgements
            lines += [f"\n  FAILED {name}: {why}" for name, why in course.failures.items()]
            failures += len(course.failures)
            shutil.rmtree(course.ground)
        if TEN in wanted:
            course = Course("ten", found, options, server, proxy)
            told_lines, judgements = ten(course)
            lines, verdicts = lines + told_lines, verdicts + judgements
            lines += [f"\n  FAILED {name}: {why}" for name, why in course.failures.items()]
            failures += len(course.failures)
            shutil.rmtree(course.ground)
    return lines, verdicts, failures


def chunks(course: Course) -> str:
    """How many chunks our repository has: without a million the targets mean little."""
    ours = next((one for one in course.standing() if one.name == US), None)
    return f"    {US}: {ours.said()['new_chunks']:,} chunks" if ours else f"    no repository of {US}"


def limits(about: str, requests: list[Request] | None, most: tuple[int, float]) -> list[judged.Verdict]:
    """Requests and MiB read against their limits."""
    if requests is None:
        return []
    return [
        judged.at_most(about, "requests", len(requests), most[0]),
        judged.at_most(about, "MiB read", read_mib(requests), most[1], digits=2),
    ]


def cold(course: Course) -> tuple[list[str], list[judged.Verdict]]:
    """A thousandth of the large file changes, the cache is gone."""
    changed = data.change(course.tree / data.LARGE)
    title = f"Cold pod: {changed / 1024:,.0f} KiB of the large file changed in place, no cache"
    lines, counts = course.counted(title, lambda one, place: one.backup(place, [course.tree], 2, course.server.root))
    verdicts = limits("Cold pod", counts.get(US), COLD_LIMITS)
    return lines + [str(one) for one in verdicts], verdicts


def one_file(course: Course) -> tuple[list[str], list[judged.Verdict]]:
    """One small file from the middle of the tree."""
    name = data.file_name(course.facts["files"] // 2)

    def act(one: Contestant, place) -> Taken:
        to = course.ground / f"restored-{one.name}"
        taken = one.restore_one(place, course.tree, name, to)
        found = [path for path in to.rglob(Path(name).name) if path.is_file()]
        if len(found) != 1 or not filecmp.cmp(found[0], course.tree / name, shallow=False):
            raise ToolFailed("the restored file is not the one that was backed up")
        return taken

    lines, counts = course.counted("Restore of one small file, no cache", act)
    verdicts = limits("Restore of one small file", counts.get(US), ONE_LIMITS)
    return lines + [str(one) for one in verdicts], verdicts


def ten(course: Course) -> tuple[list[str], list[judged.Verdict]]:
    """Nothing changes; once with the cache, once without."""
    paths = sorted(course.tree.iterdir())
    lines, verdicts = course.prepare(paths), []
    for number, cold_cache in ((2, False), (3, True)):
        which = "no cache" if cold_cache else "with the cache that the first one left"
        about = f"Unchanged backup of {len(paths)} sources, {which}"
        told_lines, counts = course.counted(
            about, lambda one, place: one.backup(place, paths, number, course.server.root), cold_cache
        )
        if US in counts:
            verdicts.append(judged.at_most(about, "requests", len(counts[US]), TEN_REQUESTS + len(paths)))
            told_lines.append(str(verdicts[-1]))
        lines += told_lines
    return lines, verdicts
