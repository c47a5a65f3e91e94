"""What Backstay must reach, and whether it did.

Nearly all targets are ratios to the best rival of the same step in the same run, because ratios
survive a change of computer and absolute times don't. Memory is absolute: a pod has a limit.
"""

from dataclasses import dataclass

from datasets import ALL
from steps import CHANGED, FIRST, RESTORE, STEPS, UNCACHED, UNCHANGED, Figures

US = "backstay"
PEAK_LIMIT_MIB = 128
EVERY = tuple(ALL)


@dataclass(frozen=True)
class Target:
    """At most `ratio` times the best rival's `figure`."""

    step: str
    data_sets: tuple[str, ...]
    figure: str
    ratio: float


TARGETS = (
    Target(FIRST, ("source", "database"), "wall_s", 0.5),
    Target(FIRST, ("source", "database"), "cpu_s", 0.5),
    Target(FIRST, ("random",), "wall_s", 0.8),
    Target(FIRST, ("random",), "cpu_s", 0.35),
    Target(FIRST, ("small",), "wall_s", 0.5),
    Target(FIRST, EVERY, "repository_mib", 1.0),
    Target(UNCHANGED, EVERY, "wall_s", 0.5),
    Target(UNCACHED, EVERY, "wall_s", 0.5),
    Target(CHANGED, EVERY, "wall_s", 0.6),
    Target(CHANGED, ("database",), "new_mib", 0.2),
    Target(CHANGED, ("source", "random", "small"), "new_mib", 1.0),
    # Not the raw wall: Backstay makes data durable before it reports success, rivals leave it to the kernel.
    Target(RESTORE, EVERY, "wall_sync_s", 0.6),
)
# New bytes of the changed database, as a multiple of what its changed pages compress to.
CHANGED_PAGES_RATIO = 1.4


@dataclass
class Verdict:
    """Backstay's figure over what it is held against."""

    figure: str
    ours: float
    against: float
    against_name: str
    ratio: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.ratio <= self.limit


def judge(data_set: str, step: str, rows: dict[str, Figures], changed: dict) -> list[Verdict]:
    """Every target of a step for which there are figures on both sides."""
    if US not in rows:
        return []
    ours = rows[US]
    rivals = {tool: row for tool, row in rows.items() if tool != US}
    verdicts = []
    for target in TARGETS:
        if target.step == step and data_set in target.data_sets and rivals:
            verdicts.append(against_best(target, ours, rivals))
    if step == CHANGED and changed.get("compressed_bytes"):
        floor_mib = changed["compressed_bytes"] / (1 << 20)
        verdicts.append(held("new_mib", ours.new_mib, floor_mib, "changed pages, zstd -3", CHANGED_PAGES_RATIO))
    verdicts.append(held("peak_mib", ours.peak_mib, PEAK_LIMIT_MIB, "limit", 1.0))
    return verdicts


def against_best(target: Target, ours: Figures, rivals: dict[str, Figures]) -> Verdict:
    """The ratio to the rival that did best in this figure."""
    values = {tool: getattr(row, target.figure) for tool, row in rivals.items()}
    best = min(values, key=values.__getitem__)
    return held(target.figure, getattr(ours, target.figure), values[best], best, target.ratio)


def held(figure: str, ours: float, against: float, against_name: str, limit: float) -> Verdict:
    """A figure against a measure; a measure of nothing is met by nothing only."""
    ratio = ours / against if against > 0 else (0.0 if ours <= 0 else float("inf"))
    return Verdict(figure, ours, against, against_name, ratio, limit)


def judge_all(data_set: str, result: dict) -> dict[str, list[Verdict]]:
    """The verdicts of all steps of a data set."""
    return {step: judge(data_set, step, result["steps"][step], result["changed"]) for step in STEPS}
