"""Tables of electrolytes, actives, carbons, mixers, anodes and halides, and a lab's own rows beside ours.

Each table is a CSV in this folder whose columns carry their units; a campaign may name further CSV files with the same
columns (`materials: {electrolytes: our_sse.csv}`), whose rows are added, never merged into ours. The column `sulfide` may be
missing or empty there.
"""

from __future__ import annotations

import csv
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

from campaign.errors import Refusal
from campaign.names import nearest

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Electrolyte:
    """A solid electrolyte (SSE); `halide_per_P` is NaN where the formula holds no phosphorus."""

    name: str
    formula: str
    molar_mass_g_mol: float
    halide_per_P: float
    halides: str
    conductivity_mS_cm: float
    conductivity_source: str
    conductivity_low_mS_cm: float
    conductivity_high_mS_cm: float
    activation_energy_eV: float
    density_g_cm3: float
    youngs_modulus_GPa: float
    window_low_V_vs_Li: float
    window_high_V_vs_Li: float
    relative_price: float
    source: str
    sulfide: str = ""
    """yes or no; empty where only the formula tells."""

    @property
    def is_sulfide(self) -> bool | None:
        """Whether it holds sulfur, and so may free H2S in moist air; None where neither table nor formula tells."""
        if self.sulfide:
            return self.sulfide == "yes"
        elements = elements_of(self.formula)
        return None if elements is None else "S" in elements

    @property
    def halide_fractions(self) -> dict[str, float]:
        """Mole of each halide per formula unit, read from `halides` such as `Cl:0.9 I:0.1`."""
        pairs = (item.split(":") for item in self.halides.split())
        return {name: float(amount) for name, amount in pairs}


@dataclass(frozen=True)
class Active:
    """A chalcogen active material."""

    name: str
    capacity_mAh_g: float
    density_g_cm3: float
    lithiated_density_g_cm3: float
    volume_change_pct: float
    melting_point_C: float
    electronic_conductivity_S_cm: float
    thermodynamic_V_vs_Li: float
    discharge_start_V_vs_LiIn: float
    discharge_end_V_vs_LiIn: float
    source: str


@dataclass(frozen=True)
class Carbon:
    """A conductive carbon or a mixture of them."""

    name: str
    description: str
    density_g_cm3: float
    surface_area_m2_g: float
    source: str


@dataclass(frozen=True)
class Mixer:
    """A mixer: its class decides whether the model may speak of it at all."""

    name: str
    mixer_class: str
    description: str
    max_speed_rpm: float
    orbit_radius_m: float
    spin_ratio: float
    thermal_mass_J_K: float
    heat_loss_W_K: float
    default_ball_ratio: float
    ball_material: str
    source: str


@dataclass(frozen=True)
class Anode:
    """A counter electrode and its potential."""

    name: str
    potential_V_vs_Li: float
    separator_source: str
    min_stack_pressure_MPa: float
    source: str


@dataclass(frozen=True)
class Halide:
    """A halide and its lithium salt LiX; the oxidation voltage is that of LiX."""

    name: str
    lithium_halide: str
    molar_mass_halide_g_mol: float
    molar_mass_LiX_g_mol: float
    density_LiX_g_cm3: float
    conductivity_25C_S_cm: float
    oxidation_V_vs_Li: float
    source: str


Row = TypeVar("Row", Electrolyte, Active, Carbon, Mixer, Anode, Halide)

_KINDS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "electrolytes": Electrolyte,
        "actives": Active,
        "carbons": Carbon,
        "mixers": Mixer,
        "anodes": Anode,
        "halides": Halide,
    }
)


@dataclass(frozen=True)
class Materials:
    """Every material that a campaign may name."""

    electrolytes: Mapping[str, Electrolyte] = field(default_factory=dict)
    actives: Mapping[str, Active] = field(default_factory=dict)
    carbons: Mapping[str, Carbon] = field(default_factory=dict)
    mixers: Mapping[str, Mixer] = field(default_factory=dict)
    anodes: Mapping[str, Anode] = field(default_factory=dict)
    halides: Mapping[str, Halide] = field(default_factory=dict)

    def electrolyte(self, name: str) -> Electrolyte:
        """Return an electrolyte by name, or refuse with the nearest right name."""
        return _look_up(self.electrolytes, name, "electrolyte (SSE)")

    def active(self, name: str) -> Active:
        """Return an active by name, or refuse with the nearest right name."""
        return _look_up(self.actives, name, "active")

    def carbon(self, name: str) -> Carbon:
        """Return a carbon by name, or refuse with the nearest right name."""
        return _look_up(self.carbons, name, "carbon")

    def mixer(self, name: str) -> Mixer:
        """Return a mixer by name, or refuse with the nearest right name."""
        return _look_up(self.mixers, name, "mixer")

    def anode(self, name: str) -> Anode:
        """Return an anode by name, or refuse with the nearest right name."""
        return _look_up(self.anodes, name, "anode")


_SYMBOLS = frozenset(
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc "
    "Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi "
    "Th U".split()
)
_FORMULA = re.compile(r"(?:[A-Z][a-z]?|[\d.,()\[\]·*+\s-])+")


def elements_of(formula: str) -> frozenset[str] | None:
    """Return the elements of a formula such as `75Li2S-25P2S5`; None where it is words or a nickname.

    >>> sorted(elements_of("Li4SnS4"))
    ['Li', 'S', 'Sn']
    >>> elements_of("LPSCl") is None
    True
    """
    text = unicodedata.normalize("NFKC", formula)
    found = frozenset(re.findall(r"[A-Z][a-z]?", text))
    return found if found and found <= _SYMBOLS and _FORMULA.fullmatch(text) else None


def _look_up(table: Mapping[str, Row], name: str, kind: str) -> Row:
    if name not in table:
        raise Refusal(f"nobody defined the {kind} {name!r}: {nearest(name, table)}")
    return table[name]


def _read(path: Path, kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    columns = [item.name for item in fields(kind)]
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        header = reader.fieldnames or []
        missing = [item.name for item in fields(kind) if item.name not in header and item.default is MISSING]
        extra = [name for name in header if name not in columns]
        if missing or extra:
            raise Refusal(f"{path}, row 1: columns must be {','.join(columns)}; missing {missing}, unknown {extra}")
        rows: dict[str, Any] = {}
        for number, cells in enumerate(reader, start=2):
            values = {name: _cell(cells[name], hints[name], path, number, name) for name in columns if name in header}
            if (name := str(values["name"])) in rows:
                raise Refusal(f"{path}, row {number}: {name} is defined twice")
            rows[name] = kind(**values)
    return rows


def _cell(text: str | None, wanted: type, path: Path, row: int, column: str) -> str | float:
    if text is None:
        raise Refusal(f"{path}, row {row}: the row ends before column {column}")
    if column == "sulfide":
        if (said := text.strip().lower()) not in ("yes", "no", ""):
            raise Refusal(
                f"{path}, row {row}, column sulfide: {text!r} must be yes or no, or empty where the formula tells"
            )
        return said
    if wanted is str:
        return text.strip()
    if not text.strip():
        if column == "halide_per_P":
            return math.nan
        raise Refusal(f"{path}, row {row}, column {column}: empty where a number is needed")
    try:
        value = float(text)
    except ValueError:
        raise Refusal(f"{path}, row {row}, column {column}: {text!r} is not a number") from None
    if not math.isfinite(value):
        raise Refusal(f"{path}, row {row}, column {column}: {text!r} is not a finite number")
    return value


@lru_cache(maxsize=8)
def _load(own: tuple[tuple[str, Path], ...]) -> Materials:
    tables = {kind: _read(_FOLDER / f"{kind}.csv", row) for kind, row in _KINDS.items()}
    for kind, path in own:
        if kind not in _KINDS:
            raise Refusal(f"materials: {kind!r} is no table of materials: {nearest(kind, _KINDS)}")
        if not path.exists():
            raise Refusal(f"materials: the file {path} for {kind} does not exist")
        added = _read(path, _KINDS[kind])
        clash = sorted(set(added) & set(tables[kind]))
        if clash:
            raise Refusal(f"{path}: {', '.join(clash)} is a name of ours already; give your own row another name")
        tables[kind] |= added
    return Materials(**{kind: MappingProxyType(rows) for kind, rows in tables.items()})


def load(own: Mapping[str, Path] | None = None) -> Materials:
    """Read our tables and, where given, a lab's own rows (table name -> CSV path).

    Raises:
        Refusal: a column is missing, a cell is no number, or a name is defined twice.
    """
    return _load(tuple(sorted((own or {}).items())))
