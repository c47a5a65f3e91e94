"""Where the programs are: `--path` first, then the repository's `.tools/bin`, then PATH.

An absent tool is named with the way to get it, and never silently left out of a comparison.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = "cargo build --release   (or name a binary in BACKSTAY)"
HOW_TO_GET = {
    "backstay": BUILD,
    "restic": "benches/rivals/install",
    "rustic": "benches/rivals/install",
    "borg": "benches/rivals/install",
    "kopia": "put a kopia on PATH, or name its directory with --path",
}


@dataclass
class Found:
    """A program and what it says its version is."""

    program: str
    version: str


def find(tool, extra: list[Path]) -> Found | None:
    """The program of a tool; None if it is not here or doesn't start."""
    program = backstay_program() if tool.NAME == "backstay" else search(tool.NAME, extra)
    if program is None:
        return None
    try:
        said = subprocess.run([program, *tool.VERSION], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    # Some programs name themselves in front of the number, some don't.
    words = said.stdout.split("\n")[0].split()
    number = next((word for word in words if word[:1].isdigit() or word[:2].strip("v").isdigit()), "")
    return Found(program, number or " ".join(words))


def backstay_program() -> str | None:
    """`BACKSTAY`, else this repository's release build. Never one from PATH: which one would that be?"""
    named = os.environ.get("BACKSTAY")
    path = Path(named) if named else ROOT / "target/release/backstay"
    return str(path.resolve()) if path.is_file() else None


def search(name: str, extra: list[Path]) -> str | None:
    """The first program of that name on the way."""
    places = [*(str(path.resolve()) for path in extra), str(ROOT / ".tools/bin"), os.environ.get("PATH", "")]
    return shutil.which(name, path=os.pathsep.join(places))
