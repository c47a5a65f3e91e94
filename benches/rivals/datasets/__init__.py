"""The four data sets, each made once from a seed and kept in the work directory between runs.

A data set knows how to make its tree and how to change it. Runs work on a copy, at one path for all
tools, so a change never touches what is kept, and the next run starts from the same bytes.
"""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Protocol

from . import database, random_bytes, small_files, source_tree
from .missing import Missing

__all__ = ["ALL", "DataSet", "Missing", "copy", "ensure"]


class DataSet(Protocol):
    """What each module of this package offers."""

    NAME: str
    # Raised when the recipe changes, so that a kept tree of an older recipe is not used.
    RECIPE: int

    def make(self, tree: Path, scale: float) -> None: ...

    def change(self, tree: Path, scale: float, run_pages: int) -> dict: ...


ALL: dict[str, DataSet] = {
    module.NAME: module for module in (source_tree, database, random_bytes, small_files)
}


def ensure(name: str, scale: float, work: Path) -> tuple[Path, dict]:
    """The kept tree of a data set, made now if it isn't there, and its facts."""
    made = ALL[name]
    home = work / "data" / f"{name}-{scale:g}-r{made.RECIPE}"
    facts = home / "facts.json"
    if not facts.exists():
        part = home.with_name(home.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        (part / "tree").mkdir(parents=True)
        begun = time.monotonic()
        made.make(part / "tree", scale)
        counted = count(part / "tree") | {"made_in_s": round(time.monotonic() - begun, 1)}
        (part / "facts.json").write_text(json.dumps(counted) + "\n")
        # The name appears only when all is in place: a run cut short leaves a `.part`, never half a set.
        part.rename(home)
    return home / "tree", json.loads(facts.read_text())


def count(tree: Path) -> dict:
    """How many files and bytes a tree has."""
    sizes = [path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def copy(tree: Path, live: Path) -> None:
    """Lays a fresh copy of a kept tree at `live`, times and owners included."""
    shutil.rmtree(live, ignore_errors=True)
    live.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(tree), str(live)], check=True)
