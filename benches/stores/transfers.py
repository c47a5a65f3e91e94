"""How quickly bytes move: a gigabyte over S3 and over SFTP, beside who does nothing but move it.

Rounds alternate who goes first, each with a place and a destination of its own; the report has medians.
All read the same bytes from files and write them to files.
"""

import filecmp
import shlex
import shutil
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import datasets
import judged
import servers
import verify
from measure import MIB, Command, Taken, ToolFailed, take, warm
from places import Contestant, at_s3, at_sftp
from servers import BUCKET

US, RESTIC, LIBRARY, OPENSSH = "backstay", "restic", "object_store", "OpenSSH sftp"
BACKUP, RESTORE = "backup", "restore"
# Half of the round trip that the issue names.
ONE_WAY_MS = 15.0
S3_SHARE, LOOPBACK_SHARE, FAR_SHARE, RESTIC_SHARE = 0.85, 0.85, 0.80, 1.5
COLUMNS = {"wall s": 2, "wall+sync s": 2, "MiB/s": 0, "CPU s": 2, "peak MiB": 0}


class Figures:
    """What each contestant needed in each round, by step; and who failed, why."""

    def __init__(self, with_sync: tuple[str, ...]):
        # The steps that last until all is durable.
        self.with_sync = with_sync
        self.taken: dict[str, dict[str, list[Taken]]] = {BACKUP: {}, RESTORE: {}}
        self.failures: dict[str, str] = {}

    def add(self, step: str, name: str, taken: Taken) -> None:
        self.taken[step].setdefault(name, []).append(taken)

    def seconds(self, step: str, name: str) -> float | None:
        """The median of what is judged."""
        taken = self.taken[step].get(name)
        if not taken:
            return None
        return median(one.wall_s + one.sync_s * (step in self.with_sync) for one in taken)

    def row(self, step: str, name: str, size_bytes: int) -> list[float]:
        taken = self.taken[step][name]
        keys = ("wall_s", "cpu_s", "peak_mib")
        wall_s, cpu_s, peak_mib = (median(getattr(one, key) for one in taken) for key in keys)
        durable_s = median(one.wall_s + one.sync_s for one in taken)
        return [wall_s, durable_s, size_bytes / MIB / self.seconds(step, name), cpu_s, peak_mib]

    def text(self, title: str, step: str, size_bytes: int) -> list[str]:
        rows = {name: self.row(step, name, size_bytes) for name in self.taken[step] if name not in self.failures}
        return ["", *judged.table(f"{title}, {step} of {size_bytes / MIB:,.0f} MiB", COLUMNS, rows)]

    def verdicts(self, title: str, against: dict[str, float]) -> list[judged.Verdict]:
        """Our share of what each of `against` reaches, where both were measured."""
        found = []
        for step in (BACKUP, RESTORE):
            ours = None if US in self.failures else self.seconds(step, US)
            for name, share in against.items():
                theirs = None if name in self.failures else self.seconds(step, name)
                if ours and theirs:
                    found.append(judged.speed_ratio(f"{title}, {step}", ours, theirs, name, share))
        return found


class Bench:
    """One round's ground: the data, a directory that is given back, and the contestants by name."""

    def __init__(self, options, found: dict, title: str, with_sync: tuple[str, ...] = (BACKUP, RESTORE)):
        self.options, self.found, self.title = options, found, title
        self.label = title.split(",")[0].lower().replace(" ", "-")
        self.tree, facts = datasets.ensure("random", options.scale, options.work)
        self.pieces, _ = datasets.ensure("pieces", options.scale, options.work)
        self.size_bytes = facts["bytes"]
        self.ground = options.work / "ground"
        self.logs = options.work / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.figures = Figures(with_sync)

    def log(self, name: str) -> Path:
        return self.logs / f"{self.label}-{name.replace(' ', '-')}.log"

    def run(self, contestants: dict) -> None:
        """All rounds. `contestants` maps names to functions of a round's name."""
        for number in range(self.options.repeat):
            order = list(contestants)
            turn = number % len(order)
            for name in order[turn:] + order[:turn]:
                if name in self.figures.failures:
                    continue
                try:
                    contestants[name](f"{self.label}-{number}")
                except ToolFailed as error:
                    self.figures.failures[name] = str(error)

    def tool(self, name: str, place, written: Path, label: str) -> None:
        """A backup tool: init, backup, restore, compare."""
        root = self.ground / label
        contestant = Contestant(name, self.found[name].program, root / "beds", self.log(name))
        contestant.prepare(place)
        warm(self.tree)
        self.figures.add(BACKUP, name, contestant.backup(place, [self.tree], 1, written))
        to = root / f"{name}-restored"
        self.figures.add(RESTORE, name, contestant.restore(place, self.tree, to))
        different = verify.difference(self.tree, contestant.tool.restored(self.tree, to))
        if different:
            raise ToolFailed(f"the restore is not what was backed up: {different}")
        shutil.rmtree(to)

    def plain(self, name: str, put: Command, get: Command, written: Path, restored: Path, original: Path) -> None:
        """A client that only moves files."""
        warm(original if original.is_dir() else original.parent)
        self.figures.add(BACKUP, name, take(put, self.log(name), written))
        self.figures.add(RESTORE, name, take(get, self.log(name), restored.parent))
        same = same_files(original, restored) if original.is_dir() else filecmp.cmp(original, restored, shallow=False)
        if not same:
            raise ToolFailed("what came back is not what was put")
        shutil.rmtree(restored.parent)

    def report(self, against: dict[str, float]) -> tuple[list[str], list[judged.Verdict], int]:
        """Lines, verdicts and the number of failures."""
        verdicts = self.figures.verdicts(self.title, against)
        lines = []
        for step in (BACKUP, RESTORE):
            lines += self.figures.text(self.title, step, self.size_bytes)
            lines += [str(one) for one in verdicts if one.about == f"{self.title}, {step}"]
        lines += [f"\n  FAILED {name}: {why}" for name, why in self.figures.failures.items()]
        return lines, verdicts, len(self.figures.failures)


def same_files(original: Path, restored: Path) -> bool:
    """Whether two flat directories hold the same files."""
    names = sorted(path.name for path in original.iterdir())
    matching, _, _ = filecmp.cmpfiles(original, restored, names, shallow=False)
    return sorted(matching) == names == sorted(path.name for path in restored.iterdir())


def s3(found: dict, options) -> tuple[list[str], list[judged.Verdict], int]:
    """Beside the library's own put and get of 32 MiB objects."""
    # What an S3 server has answered for is its own to keep: nobody waits for its disk.
    bench = Bench(options, found, "S3, loopback", with_sync=(RESTORE,))
    baseline = servers.example(servers.BASELINE)
    original = bench.tree / "random.bin"
    with servers.seaweed(bench.ground / "seaweed") as server:

        def ours(label: str) -> None:
            place = at_s3(US, server, server.port, f"{label}-{US}", options.connections)
            bench.tool(US, place, server.root, label)

        def library(label: str) -> None:
            restored = bench.ground / label / "library" / "restored"
            restored.parent.mkdir(parents=True)
            base, count = f"{label}-library", str(options.connections)
            put = Command([baseline, "put", BUCKET, base, str(original), count], server.environment())
            get = Command([baseline, "get", BUCKET, base, str(restored), count], server.environment())
            bench.plain(LIBRARY, put, get, server.root, restored, original)

        bench.run(({US: ours} if US in found else {}) | {LIBRARY: library})
    return bench.report({LIBRARY: S3_SHARE})


def sftp(found: dict, options) -> tuple[list[str], list[judged.Verdict], int]:
    """Beside OpenSSH's own client and restic, on loopback and on a long line."""
    lines, verdicts, failures = [], [], 0
    with ExitStack() as stack:
        root = options.work / "ground" / "sshd"
        server = stack.enter_context(servers.sshd(root))
        far = stack.enter_context(servers.delay_line(server.port, ONE_WAY_MS))
        round_trip = f"SFTP far, {2 * ONE_WAY_MS:g} ms round trip"
        for title, port, share in (("SFTP, loopback", server.port, LOOPBACK_SHARE), (round_trip, far, FAR_SHARE)):
            bench = Bench(options, found, title)
            one_link(bench, server, port)
            told, judgements, failed = bench.report({OPENSSH: share, RESTIC: RESTIC_SHARE})
            lines, verdicts, failures = lines + told, verdicts + judgements, failures + failed
    return lines, verdicts, failures


def one_link(bench: Bench, server: servers.Sshd, port: int) -> None:
    """All contestants over one port."""
    options, stored = bench.options, bench.ground / "stored"

    def tool(name: str):
        def run(label: str) -> None:
            directory = stored / f"{label}-{name}"
            directory.mkdir(parents=True)
            place = at_sftp(name, server, port, directory, options.connections)
            bench.tool(name, place, directory, label)
            shutil.rmtree(directory)

        return run

    def openssh(label: str) -> None:
        home, directory = bench.ground / label / "openssh", stored / f"{label}-openssh"
        restored = home / "out" / "restored"
        for path in (directory, restored):
            path.mkdir(parents=True)
        names = sorted(path.name for path in bench.pieces.iterdir())
        puts = [f"put {bench.pieces}/{name} {directory}/{name}" for name in names]
        gets = [f"get {directory}/{name} {restored}/{name}" for name in names]
        put = side_by_side(server, port, home / "put", puts, options.connections)
        get = side_by_side(server, port, home / "get", gets, options.connections)
        bench.plain(OPENSSH, put, get, directory, restored, bench.pieces)
        shutil.rmtree(directory)

    tools = {name: tool(name) for name in (US, RESTIC) if name in bench.found}
    bench.run(tools | {OPENSSH: openssh})


def side_by_side(server: servers.Sshd, port: int, batch: Path, lines: list[str], connections: int) -> Command:
    """As many `sftp` processes as there are connections, each with its share of the lines."""
    words = []
    for number in range(min(connections, len(lines))):
        path = batch.with_name(f"{batch.name}-{number}")
        path.write_text("\n".join(lines[number::connections]) + "\n")
        words.append(shlex.join(["sftp", "-q", "-b", str(path), *server.options(port), "127.0.0.1"]))
    started = "".join(f"{word} & pids=\"$pids $!\"; " for word in words)
    script = f"{started} for pid in $pids; do wait $pid || exit 1; done"
    return Command(["sh", "-c", script], {"PATH": "/usr/bin:/bin", "HOME": str(batch.parent), "LANG": "C.UTF-8"})
