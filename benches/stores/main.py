"""Reads the arguments, runs what is wanted, prints as results come, ends with 0, 1 or 2.

0: every target that was judged was met. 1: some were missed. 2: something failed or is absent.
"""

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import budgets
import find
import judged
import report
import servers
import tools
import transfers
from places import takes_connections

MET, SHORT, FAILED = 0, 1, 2
S3, SFTP = "s3", "sftp"
ITEMS = (S3, SFTP, budgets.COLD, budgets.ONE, budgets.TEN)


def run(arguments: list[str]) -> int:
    options = parse(arguments)
    looked = {name: find.find(tools.ALL[name], options.path) for name in budgets.TOOLS}
    found = {name: one for name, one in looked.items() if one}
    absent = [name for name in budgets.TOOLS if name not in found]
    print(opening(found, absent, options), flush=True)
    shutil.rmtree(options.work / "ground", ignore_errors=True)
    options.work.mkdir(parents=True, exist_ok=True)
    lines, verdicts, failures = [], [], len(absent)
    try:
        for told, judgements, failed in results(found, options):
            print("\n".join(told), flush=True)
            lines, verdicts, failures = lines + told, verdicts + judgements, failures + failed
    except servers.NoServer as error:
        print(f"failed: {error}")
        failures += 1
    finally:
        shutil.rmtree(options.work / "ground", ignore_errors=True)
    print(judged.closing(verdicts, failures))
    save(found, verdicts, lines, options)
    if failures:
        return FAILED
    return MET if all(one.passed for one in verdicts) else SHORT


def results(found: dict, options):
    """The wanted parts, one after the other."""
    wanted = options.only or list(ITEMS)
    if S3 in wanted:
        yield transfers.s3(found, options)
    if SFTP in wanted:
        yield transfers.sftp(found, options)
    counted = [name for name in (budgets.COLD, budgets.ONE, budgets.TEN) if name in wanted]
    if counted:
        yield budgets.run(counted, found, options)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; see README.md for what the words mean."""
    parser = argparse.ArgumentParser(prog="benches/stores/run", description="Backstay over S3 and SFTP")
    add = parser.add_argument
    add("--only", action="append", choices=ITEMS, metavar="PART", help=f"may be repeated: {', '.join(ITEMS)}")
    add("--path", action="append", type=Path, default=[], metavar="DIR", help="look for restic and rustic here first")
    add("--scale", type=float, default=1.0, help="size of the data sets. Targets are meant for 1.0")
    add("--repeat", type=int, default=3, metavar="N", help="rounds of s3 and sftp; prints medians")
    add("--connections", type=int, default=4, metavar="N", help="how many each client of s3 and sftp may have")
    add("--work", type=Path, default=find.ROOT / "target/stores", metavar="DIR", help="data, servers, logs")
    add("--json", type=Path, metavar="FILE", help="write verdicts and tables")
    options = parser.parse_args(arguments)
    options.work = options.work.resolve()
    if options.scale <= 0 or options.repeat < 1 or options.connections < 1:
        parser.error("numbers must be positive")
    return options


def opening(found: dict, absent: list[str], options) -> str:
    """Who runs, in which versions, on what."""
    lines = [report.opening(found, absent, options)]
    if "backstay" in found and not takes_connections(found["backstay"].program):
        lines.append("This backstay has no --connections: it runs with what it takes.")
    return "\n".join(lines)


def save(found: dict, verdicts: list, lines: list[str], options) -> None:
    """The JSON file."""
    if options.json:
        document = {
            "version": 1,
            "scale": options.scale,
            "repeat": options.repeat,
            "connections": options.connections,
            "tools": {name: one.version for name, one in found.items()},
            "verdicts": [asdict(one) | {"passed": one.passed} for one in verdicts],
            "tables": lines,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")
