"""One tool's own place for one data set: repository, cache, home, keys, log.

Everything that a tool might keep between runs is below it, so that tools share nothing, nothing of
the user's own set-up leaks in, and "delete the cache" means the same for all. The log is ours, and
lies elsewhere, so that it outlives the bed.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Bed:
    root: Path
    program: str
    log: Path

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def home(self) -> Path:
        return self.root / "home"

    def lay(self) -> None:
        """Makes the bed afresh."""
        self.clear()
        for directory in (self.repository, self.cache, self.home, self.root / "tmp"):
            directory.mkdir(parents=True)

    def clear(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def delete_cache(self) -> None:
        shutil.rmtree(self.cache)
        self.cache.mkdir()

    def environment(self) -> dict[str, str]:
        """What every tool gets; its own variables come on top."""
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.cache),
            "TMPDIR": str(self.root / "tmp"),
        }
