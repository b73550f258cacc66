"""Which sensors a simulated plant has: names, places, and what each measures.

Arrays are [S] over sensors. A layout depends on the number of series and the seed alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle, islice

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of measurement, in its own unit. Sizes are for a load or an ambience that moves by one."""

    tag: str  # letters of ISA 5.1
    unit: str
    decimals: int
    base: tuple[float, float]  # level at a mean load
    ambient: float
    load: float
    noise: float  # standard deviation
    memory: float  # of the noise, in steps
    deadband: float  # of those who send by exception
    rest: float  # while the machine is off
    valid: tuple[float, float]
    off_below: float | None = None  # a running machine stays above it


KINDS = {
    "temperature": Kind(tag="TI", unit="°C", decimals=1, base=(45, 140), ambient=3, load=12, noise=0.3,
                        memory=30, deadband=0.5, rest=22, valid=(-20, 250)),
    "pressure": Kind(tag="PI", unit="bar", decimals=2, base=(2.5, 9), ambient=0.05, load=1.2, noise=0.04,
                     memory=8, deadband=0.1, rest=1.0, valid=(0, 16)),
    "flow": Kind(tag="FI", unit="m³/h", decimals=1, base=(60, 140), ambient=0, load=45, noise=0.9,
                 memory=4, deadband=2, rest=0, valid=(0, 250), off_below=5),
    "level": Kind(tag="LI", unit="%", decimals=1, base=(40, 65), ambient=0, load=22, noise=0.8,
                  memory=120, deadband=0.5, rest=40, valid=(0, 100)),
    "vibration": Kind(tag="VI", unit="mm/s", decimals=2, base=(1.4, 3), ambient=0.05, load=0.8, noise=0.07,
                      memory=3, deadband=0.1, rest=0.05, valid=(0, 20), off_below=0.4),
    "power": Kind(tag="JI", unit="kW", decimals=1, base=(40, 110), ambient=1, load=26, noise=0.7,
                  memory=5, deadband=1, rest=0.4, valid=(0, 250), off_below=5),
    "valve": Kind(tag="ZI", unit="%", decimals=1, base=(35, 60), ambient=1, load=30, noise=0.7,
                  memory=20, deadband=1, rest=0, valid=(0, 100)),
    "current": Kind(tag="AI", unit="mA", decimals=3, base=(9, 14), ambient=0.3, load=3, noise=0.03,
                    memory=12, deadband=0.05, rest=4, valid=(3.6, 21)),
    "running": Kind(tag="XS", unit="", decimals=0, base=(1, 1), ambient=0, load=0, noise=0,
                    memory=1, deadband=0.5, rest=0, valid=(0, 1)),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """A type of equipment. A machine is switched on and off, and its sensors rest while it is off."""

    name: str
    machine: bool
    sampled: tuple[str, ...]
    by_exception: tuple[str, ...]


_REACTOR = Equipment(
    name="Reactor", machine=False, sampled=("temperature", "pressure", "temperature", "flow", "current"),
    by_exception=("level", "valve"),
)  # fmt: skip
_PUMP = Equipment(
    name="Pump", machine=True, sampled=("power", "vibration", "pressure", "flow"), by_exception=("running",)
)
_EXCHANGER = Equipment(
    name="Heat exchanger", machine=False, sampled=("temperature",) * 4 + ("flow",), by_exception=("valve",)
)
_COLUMN = Equipment(
    name="Column", machine=False, sampled=("temperature",) * 3 + ("pressure", "flow", "current"),
    by_exception=("level", "valve"),
)  # fmt: skip
_TANK = Equipment(name="Tank", machine=False, sampled=("pressure",), by_exception=("level", "temperature"))
_BOILER = Equipment(
    name="Boiler",
    machine=False,
    sampled=("temperature", "pressure", "flow", "power"),
    by_exception=("valve",),
)
_COMPRESSOR = Equipment(
    name="Compressor", machine=True, sampled=("power", "vibration", "temperature", "pressure"),
    by_exception=("running",),
)  # fmt: skip

AREAS = (
    ("Reaction", "process", (_REACTOR, _PUMP, _REACTOR, _EXCHANGER)),
    ("Distillation", "process", (_COLUMN, _PUMP, _EXCHANGER, _TANK)),
    ("Utilities", "utilities", (_BOILER, _COMPRESSOR, _PUMP, _COMPRESSOR)),
    ("Tank farm", "logistics", (_TANK, _PUMP, _TANK, _TANK, _PUMP)),
)
SITES = ("Nord", "Süd", "West", "Ost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sensor is and who looks after it."""

    site: str
    area: str
    equipment: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All sensors of a plant."""

    series: tuple[str, ...]  # such as Nord/Reactor 2/TI-4711
    kind: tuple[str, ...]
    place: tuple[Place, ...]
    area: Int64Array  # which of num_areas; sensors of one share ambience and load
    machine: Int64Array  # which of num_machines, -1 for none
    by_exception: BoolArray
    base: Float64Array
    ambient: Float64Array
    load: Float64Array
    noise: Float64Array
    num_areas: int
    num_machines: int

    def gather(self, name: str) -> Float64Array:
        """A number of each sensor's kind, such as ``rest``."""
        return np.array([getattr(KINDS[kind], name) for kind in self.kind], np.float64)

    @property
    def spread(self) -> Float64Array:
        """About the standard deviation of each sensor over a day."""
        return np.sqrt(self.noise**2 + (0.7 * self.ambient) ** 2 + (0.25 * self.load) ** 2)


def build_layout(num_series: int, rng: np.random.Generator) -> Layout:
    """Lay out sensors area by area. Raises ValueError if there is to be none."""
    if num_series < 1:
        raise ValueError(f"expected at least one series, but got {num_series}")
    rows = list(islice(_name_sensors(), num_series))
    names, kinds, places, areas, machines, by_exception = zip(*rows, strict=True)
    area = np.array(areas, np.int64)
    low, high = np.array([KINDS[kind].base for kind in kinds]).T
    around = rng.uniform(0.7, 1.3, (3, num_series))
    # Valves and levels of some sensors move against the load.
    sign = np.where(rng.random(num_series) < 0.25, -1.0, 1.0)
    machine = np.array(machines, np.int64)
    sign[machine >= 0] = 1.0
    ambient, load, noise = (
        np.array([getattr(KINDS[kind], name) for kind in kinds]) * around[row]
        for row, name in enumerate(("ambient", "load", "noise"))
    )
    return Layout(
        series=names,
        kind=kinds,
        place=places,
        area=area,
        machine=machine,
        by_exception=np.array(by_exception, bool),
        base=rng.uniform(low, high),
        ambient=ambient,
        load=load * sign,
        noise=noise,
        num_areas=int(area.max()) + 1,
        num_machines=int(machine.max()) + 1,
    )


def _name_sensors() -> Iterator[tuple[str, str, Place, int, int, bool]]:
    """Yield id, kind, place, area, machine (-1 for none) and whether it sends by exception, without end."""
    machines = count()
    for number, (template, site) in enumerate(zip(cycle(AREAS), _name_sites(), strict=False)):
        title, owner, equipments = template
        if number % len(AREAS) == 0:
            seen: dict[str, int] = {}
            loops = count(1000)
        for equipment in equipments:
            seen[equipment.name] = seen.get(equipment.name, 0) + 1
            place = Place(
                site=site, area=title, equipment=f"{equipment.name} {seen[equipment.name]}", owner=owner
            )
            machine = next(machines) if equipment.machine else -1
            marked = [(kind, False) for kind in equipment.sampled]
            # The running signal stands first, so that a small plant has it beside what depends on it.
            marked += [(kind, True) for kind in equipment.by_exception]
            marked.sort(key=lambda item: item[0] != "running")
            for kind, by_exception in marked:
                tag = f"{KINDS[kind].tag}-{next(loops)}"
                yield f"{site}/{place.equipment}/{tag}", kind, place, number, machine, by_exception


def _name_sites() -> Iterator[str]:
    """A site for each area: Nord four times, and so on, then Nord 2."""
    for again in count(1):
        for site in SITES:
            for _ in AREAS:
                yield site if again == 1 else f"{site} {again}"
