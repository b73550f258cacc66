"""Real data sets that ship inside packages of the Python index, by name: nothing is downloaded for them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.sources.dialect import TableError

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A file of a package, and the length of its season."""

    name: str
    package: str
    file: str
    season_ms: int
    what: str


DATA_SETS = (
    DataSet(
        name="WaterFlow",
        package="river",
        file="datasets/water-flow.csv",
        season_ms=DAY_MS,
        what="hourly flow through a branch of a water pipeline over two months, by Tecnojest s.r.l.",
    ),
    DataSet(
        name="CO2",
        package="statsmodels",
        file="datasets/co2/co2.csv",
        season_ms=364 * DAY_MS,
        what="weekly carbon dioxide above Mauna Loa, 1958 to 2001",
    ),
)


def find_data(name: str) -> tuple[Path, DataSet | None]:
    """The file that a name stands for: a path, or else the name of a data set in any case.

    Raises TableError where it is neither, or the package is not installed.
    """
    if Path(name).exists():
        return Path(name), None
    known = next((each for each in DATA_SETS if each.name.lower() == name.lower()), None)
    if known is None:
        names = " or ".join(f"{each.name} (ships with {each.package})" for each in DATA_SETS)
        raise TableError(f"{name}: expected a file, or the name of a data set, which is {names}")
    spec = find_spec(known.package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(folders[0], known.file) if folders else None
    if path is None or not path.exists():
        raise TableError(
            f"{known.name}: expected the package {known.package}, which this data set ships with, but it is "
            f"not installed; `pip install {known.package}`, or `make setup` in a clone, brings it"
        )
    return path, known
