"""Reads the arguments, runs the rounds, prints as results come, ends with 0, 1 or 2.

0: every target that could be judged was met. 1: some were missed. 2: something failed or is missing
that was asked for by name.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import find
import huge
import loop
import report
import targets
import tools
from measure import ToolFailed
from steps import Contestant, as_plain, race

MET, SHORT, FAILED = 0, 1, 2
# Room for the data, five repositories and five restored copies of the largest set.
LOOP_BYTES = 24 << 30
LOOP_SPARE_BYTES = 2 << 30


def run(arguments: list[str]) -> int:
    options = parse(arguments)
    found, absent = find_tools(options)
    print(report.opening(found, absent, options), flush=True)
    # Asked for by name, absence is an error; by default it is only said.
    if not found or (options.tools and absent):
        return FAILED
    options.work.mkdir(parents=True, exist_ok=True)
    if options.prepare:
        return prepare(options)
    if options.huge:
        return run_huge(found, options)
    return run_races(found, options)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; see README.md for what the words mean."""
    parser = argparse.ArgumentParser(prog="benches/rivals/run", description="Backstay beside its rivals")
    add = parser.add_argument
    sets = ", ".join(datasets.ALL)
    add("--only", action="append", choices=list(datasets.ALL), metavar="DATASET", help=f"may be repeated: {sets}")
    add("--tools", type=lambda text: text.split(","), help="comma-separated: " + ",".join(tools.ALL))
    add("--path", action="append", type=Path, default=[], metavar="DIR", help="look for tools here first")
    add("--scale", type=float, default=1.0, help="size of the data sets (1.0 is about 3.5 GiB in all)")
    add("--run-pages", type=int, default=24, help="mean run of changed database pages; 1 scatters them")
    add("--work", type=Path, default=find.ROOT / "target/rivals", metavar="DIR", help="data, repositories, logs")
    add("--repeat", type=int, default=1, metavar="N", help="rounds, each from the start; prints medians")
    add("--loop", action="store_true", help="run each round on a fresh ext4 of its own (root)")
    add("--json", type=Path, metavar="FILE", help="write all figures of all rounds")
    add("--prepare", action="store_true", help="only make the data sets")
    add("--huge", action="store_true", help="only Backstay's memory: 10 million files, 100 GB sparse")
    options = parser.parse_args(arguments)
    options.work = options.work.resolve()
    unknown = set(options.tools or []) - set(tools.ALL)
    if unknown or options.scale <= 0 or options.repeat < 1 or options.run_pages < 1:
        parser.error(f"unknown tools: {', '.join(unknown)}" if unknown else "numbers must be positive")
    return options


def find_tools(options) -> tuple[dict[str, find.Found], list[str]]:
    """The programs that are here, and the names of those that are not."""
    wanted = options.tools or list(tools.ALL)
    looked = {name: find.find(tools.ALL[name], options.path) for name in wanted}
    found = {name: one for name, one in looked.items() if one}
    return found, [name for name in wanted if name not in found]


def prepare(options) -> int:
    """Makes the data sets and stops."""
    for name in options.only or datasets.ALL:
        try:
            tree, facts = datasets.ensure(name, options.scale, options.work)
        except datasets.Missing as missing:
            print(f"{name}: {missing}")
            return FAILED
        print(f"{name}: {facts['files']:,} files, {facts['bytes']:,} bytes in {tree}", flush=True)
    return MET


def run_races(found: dict[str, find.Found], options) -> int:
    """All data sets; a report after each, so that a run cut short has said what it knows."""
    everything, all_verdicts, failures = {}, [], 0
    for name in options.only or datasets.ALL:
        try:
            rounds = [one_round(name, found, options, number) for number in range(options.repeat)]
        except datasets.Missing as missing:
            print(f"\n== {name}: left out. {missing}")
            failures += bool(options.only)
            continue
        except loop.NoLoop as error:
            print(f"--loop: {error}")
            return FAILED
        result = report.medians(rounds)
        verdicts = targets.judge_all(name, result)
        print(report.data_set(name, result, verdicts, options.repeat), flush=True)
        all_verdicts += [(name, step, one) for step, ones in verdicts.items() for one in ones]
        failures += len(result["failures"])
        everything[name] = {"rounds": [as_plain(one) for one in rounds], "verdicts": report.as_json(verdicts)}
        save(found, everything, options)
    print(report.closing(all_verdicts, failures), end="")
    if failures:
        return FAILED
    return MET if all(one.passed for _, _, one in all_verdicts) else SHORT


def one_round(name: str, found: dict[str, find.Found], options, number: int) -> dict:
    """One race. Who starts moves on by one each round, so that nobody always goes first."""
    datasets.ensure(name, options.scale, options.work)
    order = list(found)
    turn = number % len(order)
    order = order[turn:] + order[:turn]
    logs = options.work / "logs" / f"{name}-{number + 1}"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    with ground(options) as place:
        beds = place / "beds"
        beds.mkdir(exist_ok=True)
        contestants = [
            Contestant(tools.ALL[tool], found[tool].program, beds, logs / f"{tool}.log") for tool in order
        ]
        done = race(name, contestants, place, options, progress)
    # Reports keep one order, whoever started.
    for step, rows in done["steps"].items():
        done["steps"][step] = {tool: rows[tool] for tool in found if tool in rows}
    return done


@contextmanager
def ground(options) -> Iterator[Path]:
    """Where a race is run: in the work directory, or on a fresh file system mounted there."""
    place = options.work / "ground"
    if options.loop:
        size_bytes = int(LOOP_BYTES * options.scale) + LOOP_SPARE_BYTES
        with loop.mounted(options.work / "ground.img", place, size_bytes, ["-i", "8192"]):
            yield place
    else:
        place.mkdir(parents=True, exist_ok=True)
        yield place


def run_huge(found: dict[str, find.Found], options) -> int:
    """Backstay's memory, alone."""
    if "backstay" not in found:
        print("--huge measures Backstay, which is absent")
        return FAILED
    root = options.work / "huge"
    try:
        verdicts = huge.run(found["backstay"].program, root, options.scale, progress)
    except (ToolFailed, loop.NoLoop) as error:
        print(f"failed: {error}")
        return FAILED
    finally:
        shutil.rmtree(root / "bed", ignore_errors=True)
    return MET if all(one.passed for one in verdicts) else SHORT


def save(found: dict[str, find.Found], everything: dict, options) -> None:
    """Writes the JSON file anew after each data set."""
    if options.json:
        versions = {name: one.version for name, one in found.items()}
        document = {"version": 1, "scale": options.scale, "run_pages": options.run_pages, "tools": versions}
        options.json.write_text(json.dumps(document | {"data_sets": everything}, indent=1) + "\n")


def progress(text: str) -> None:
    """Where the run is; on a terminal only, since a log has no use for it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}\r", end="", file=sys.stderr, flush=True)
