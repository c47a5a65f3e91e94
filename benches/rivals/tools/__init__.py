"""The contestants: how each is found, set up, and asked to back up and restore.

One file per tool, all of one shape, so that a reader can check that each is treated as its own
manual advises: encryption on, zstd level 3 or what is closest to it, everything else at its default.
"""

from pathlib import Path
from typing import Protocol

from . import backstay, borg, kopia, restic, rustic
from .bed import Bed


class Tool(Protocol):
    """What each module of this package offers. Commands are argument lists; `PROGRAM` is replaced."""

    NAME: str
    VERSION: list[str]

    def environment(self, bed: Bed) -> dict[str, str]: ...

    # Untimed commands that make the repository.
    def prepare(self, bed: Bed) -> list[list[str]]: ...

    def backup(self, bed: Bed, live: Path, number: int) -> list[str]: ...

    # The latest snapshot, which is backup `number`, into the empty directory `to`.
    def restore(self, bed: Bed, live: Path, to: Path, number: int) -> list[str]: ...

    # Where below `to` the tool puts what was at `live`.
    def restored(self, live: Path, to: Path) -> Path: ...


ALL: dict[str, Tool] = {tool.NAME: tool for tool in (backstay, restic, rustic, borg, kopia)}
