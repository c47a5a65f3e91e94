"""Targets and tables: what was measured, what it is held against, and whether that was reached."""

from dataclasses import dataclass


@dataclass
class Verdict:
    """One figure and its limit."""

    about: str
    figure: str
    value: float
    limit: float
    at_least: bool
    digits: int = 0
    # What a ratio is a ratio of.
    of: str = ""

    @property
    def passed(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        word = "pass" if self.passed else "SHORT"
        bound = "at least" if self.at_least else "at most"
        value, limit = (f"{number:,.{self.digits}f}" for number in (self.value, self.limit))
        against = f" × {self.of}" if self.of else ""
        return f"    {f'{self.figure} {value}{against}':58} {bound} {limit:>7}  {word}"


def speed_ratio(about: str, ours_s: float, theirs_s: float, of: str, limit: float) -> Verdict:
    """Our throughput as a share of theirs, for the same bytes."""
    return Verdict(about, "throughput", theirs_s / ours_s, limit, at_least=True, digits=2, of=of)


def at_most(about: str, figure: str, value: float, limit: float, digits: int = 0) -> Verdict:
    return Verdict(about, figure, value, limit, at_least=False, digits=digits)


def table(title: str, columns: dict[str, int], rows: dict[str, list[float | None]]) -> list[str]:
    """A row a contestant; `columns` has the digits of each. What was not measured stays empty."""
    lines = [title, "  " + f"{'':16}" + "".join(f"{name:>13}" for name in columns)]
    for name, row in rows.items():
        cells = (
            f"{'':>13}" if value is None else f"{value:13,.{digits}f}"
            for value, digits in zip(row, columns.values(), strict=True)
        )
        lines.append(f"  {name:16}" + "".join(cells))
    return lines


def closing(verdicts: list[Verdict], failures: int) -> str:
    """The count, then every target that was missed."""
    short = [one for one in verdicts if not one.passed]
    lines = ["", f"{len(verdicts) - len(short)} targets passed, {len(short)} short, {failures} failures"]
    for about in dict.fromkeys(one.about for one in short):
        lines += [f"  {about}", *(str(one) for one in short if one.about == about)]
    return "\n".join(lines)
