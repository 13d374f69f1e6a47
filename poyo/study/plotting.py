"""Figures and tables that stay: one way to save each, with the numbers behind it."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from .. import ROOT, replacing
from ..config import check_name

FIGURES = ROOT / "figures"


def _path(folder: str, name: str, suffix: str) -> Path:
    """A file of figures/, also for a `name` that somebody typed; it may be "folder/name"."""
    return FIGURES.joinpath(folder, *map(check_name, f"{name}{suffix}".split("/")))


def save(fig: Figure, name: str, data: pd.DataFrame | None = None) -> None:
    """Write figures/<name>.png and, where given, the numbers it shows as figures/data/<name>.csv.
    The PNG carries no software version, so that its bytes depend on the picture alone."""
    with replacing(_path("", name, ".png")) as scratch:
        fig.savefig(scratch, format="png", metadata={"Software": None})
    if data is not None:
        csv(data, name)


def csv(data: pd.DataFrame, name: str) -> None:
    """Write figures/data/<name>.csv with four decimals, of small numbers with four digits."""

    def text(x: float) -> str:
        return f"{x:.4f}" if x == 0 or abs(x) >= 1e-3 else f"{x:.4g}"

    with replacing(_path("data", name, ".csv")) as scratch:
        data.to_csv(scratch, index=False, float_format=text, lineterminator="\n")


def table(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """The frame as a page shows it: numbers with so many digits, nothing where there is none."""
    return frame.map(lambda x: f"{x:.{digits}f}".replace("nan", "") if isinstance(x, float) else x)


def markdown(rows: list[dict[str, str]], name: str, caption: str) -> str:
    """Write figures/tables/<name>.md and return it: a row per dict, columns by their keys."""
    columns = list(rows[0])
    cells = [columns, ["---"] * len(columns), *([str(row[c]) for c in columns] for row in rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in cells) + f"\n\n{caption}\n"
    with replacing(_path("tables", name, ".md")) as scratch:
        scratch.write_text(text)
    return text
