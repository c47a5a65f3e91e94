"""The printed report: a table a step, then Backstay's ratios with their targets.

A figure that was not measured is left out, a tool that failed says why, and one that is absent is
named: a reader must be able to tell "worse" from "not there".
"""

import os
import platform
from dataclasses import asdict
from statistics import median

from find import HOW_TO_GET
from measure import MIB
from steps import STEPS, TITLES, Figures
from targets import Verdict

COLUMNS = (
    ("wall_s", "wall s", 2),
    ("wall_sync_s", "wall+sync s", 2),
    ("cpu_s", "CPU s", 2),
    ("peak_mib", "peak MiB", 0),
    ("repository_mib", "repository MiB", 1),
    ("new_mib", "new MiB", 2),
)
LABELS = {key: label for key, label, _ in COLUMNS}
DIGITS = {key: digits for key, _, digits in COLUMNS}


def medians(rounds: list[dict]) -> dict:
    """One result out of several rounds. A tool that failed in any round has no figure."""
    failures = {tool: why for one in rounds for tool, why in one["failures"].items()}
    steps = {}
    for step in STEPS:
        tools = [tool for tool in rounds[0]["steps"][step] if all(tool in one["steps"][step] for one in rounds)]
        steps[step] = {tool: middle([one["steps"][step][tool] for one in rounds]) for tool in tools}
    return rounds[0] | {"steps": steps, "failures": failures}


def middle(rows: list[Figures]) -> Figures:
    """The median of each figure."""
    pairs = {key: [getattr(row, key) for row in rows] for key, _, _ in COLUMNS}
    return Figures(**{key: None if None in values else median(values) for key, values in pairs.items()})


def opening(found: dict, absent: list[str], options) -> str:
    """Who runs, in which versions, on what, and who doesn't."""
    memory = next((line.split()[1] for line in open("/proc/meminfo") if line.startswith("MemTotal")), "0")
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    lines = [f"{cores} cores, {int(memory) / MIB:.0f} GiB, {system}"]
    lines += [f"  {name} {one.version}" for name, one in found.items()]
    lines += [f"  {name}: absent. {HOW_TO_GET[name]}" for name in absent]
    if options.scale != 1:
        lines.append(f"Scale {options.scale:g}: small sets are mostly start-up time. Targets are meant for scale 1.")
    return "\n".join(lines)


def data_set(name: str, result: dict, verdicts: dict[str, list[Verdict]], repeat: int) -> str:
    """All steps of one data set."""
    facts = result["facts"]
    middle_of = f", median of {repeat}" if repeat > 1 else ""
    lines = ["", f"== {name}: {facts['files']:,} files, {facts['bytes'] / MIB:,.0f} MiB{middle_of}"]
    for step in STEPS:
        rows = result["steps"][step]
        if rows:
            about = f" ({changes(result['changed'])})" if step == "changed" else ""
            lines += ["", *table(f"{name}, {TITLES[step]}{about}", rows)]
            lines += [verdict(one) for one in verdicts[step]]
    lines += [f"\n  FAILED {tool}: {why}" for tool, why in result["failures"].items()]
    return "\n".join(lines)


def changes(facts: dict) -> str:
    """What the change was, in a line."""
    told = {key: value for key, value in facts.items() if value is not None and not key.endswith("_bytes")}
    words = [f"{key.replace('_', ' ')} {value:,}" for key, value in told.items()]
    for key in ("changed_bytes", "compressed_bytes", "inserted_bytes"):
        if facts.get(key) is not None:
            words.append(f"{key.removesuffix('_bytes')} {facts[key] / MIB:.2f} MiB")
    return ", ".join(words)


def table(title: str, rows: dict[str, Figures]) -> list[str]:
    """One step: a row a tool. A column that nobody has a figure for is left out."""
    shown = [key for key, _, _ in COLUMNS if any(getattr(row, key) is not None for row in rows.values())]
    lines = [title, "  " + f"{'':10}" + "".join(f"{LABELS[key]:>16}" for key in shown)]
    for tool, row in rows.items():
        values = (getattr(row, key) for key in shown)
        cells = (f"{'':>16}" if value is None else f"{value:16,.{DIGITS[key]}f}" for key, value in zip(shown, values))
        lines.append(f"  {tool:10}" + "".join(cells))
    return lines


def verdict(one: Verdict) -> str:
    """One target: the ratio, what it is a ratio of, how much it may be, and the word."""
    digits = DIGITS[one.figure]
    against = f"{one.against_name} ({one.against:,.{digits}f})"
    word = "pass" if one.passed else "SHORT"
    return f"    {LABELS[one.figure]:15} {one.ratio:6.2f} × {against:32} at most {one.limit:.2f}  {word}"


def closing(verdicts: list[tuple[str, str, Verdict]], failed: int) -> str:
    """The count, then every target that was missed."""
    if not verdicts:
        return "\nNothing was judged: that needs Backstay and at least one rival.\n"
    short = [(name, step, one) for name, step, one in verdicts if not one.passed]
    lines = ["", f"{len(verdicts) - len(short)} targets passed, {len(short)} short, {failed} failures"]
    for name, step in dict.fromkeys((name, step) for name, step, _ in short):
        lines.append(f"  {name}, {TITLES[step]}")
        lines += [verdict(one) for *place, one in short if place == [name, step]]
    return "\n".join(lines) + "\n"


def as_json(verdicts: dict[str, list[Verdict]]) -> dict:
    """Verdicts for the JSON file."""
    return {step: [asdict(one) | {"passed": one.passed} for one in ones] for step, ones in verdicts.items()}
