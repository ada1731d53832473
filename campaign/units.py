"""Units as labs write them: an alias table first, then pint, and an allow-list per quantity.

pint alone is wrong for this field: `ma` is a milliyear, `MA` a megaampere, and `mAh g-1`, `mAhr`, `wt%` fail. So a unit
is understood only where the quantity of its column allows it, and each quantity has one unit that the code works in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from campaign.errors import Refusal

CANONICAL: Mapping[str, str] = MappingProxyType(
    {
        "time": "s",
        "current": "mA",
        "voltage": "V",
        "capacity": "mAh",
        "capacity_per_mass": "mAh/g",
        "capacity_per_area": "mAh/cm2",
        "energy": "mWh",
        "mass": "mg",
        "area": "cm2",
        "current_density": "mA/cm2",
        "loading": "mg/cm2",
        "conductivity": "mS/cm",
        "length": "um",
        "speed": "rpm",
        "duration": "h",
        "share": "%",
        "pressure": "MPa",
        "temperature": "degC",
        "ratio": "1",
    }
)
"""The one unit in which the code works, per quantity."""

ALLOWED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "time": ("s", "ms", "min", "h", "d"),
        "current": ("A", "mA", "uA", "nA"),
        "voltage": ("V", "mV", "uV"),
        "capacity": ("Ah", "mAh", "uAh", "nAh", "As", "mAs", "C", "mC"),
        "capacity_per_mass": ("mAh/g", "Ah/g", "Ah/kg", "uAh/mg", "mAh/mg", "uAh/g"),
        "capacity_per_area": ("mAh/cm2", "uAh/cm2", "Ah/cm2", "Ah/m2", "mAh/m2"),
        "energy": ("Wh", "mWh", "uWh", "J"),
        "mass": ("mg", "g", "ug", "kg"),
        "area": ("cm2", "mm2", "m2"),
        "current_density": ("mA/cm2", "uA/cm2", "A/cm2", "A/m2"),
        "loading": ("mg/cm2", "g/cm2", "g/m2", "ug/cm2"),
        "conductivity": ("S/cm", "mS/cm", "uS/cm", "S/m", "mS/m"),
        "length": ("um", "nm", "mm", "m"),
        "speed": ("rpm",),
        "duration": ("h", "min", "s", "d"),
        "share": ("%", "1"),
        "pressure": ("MPa", "kPa", "bar", "GPa", "Pa"),
        "temperature": ("degC",),
        "ratio": ("1", "%"),
    }
)
"""Units that a column of a quantity may carry; anything else is refused, not guessed."""

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "sec": "s",
        "secs": "s",
        "second": "s",
        "seconds": "s",
        "msec": "ms",
        "millisecond": "ms",
        "min": "min",
        "mins": "min",
        "minute": "min",
        "minutes": "min",
        "hr": "h",
        "hrs": "h",
        "hour": "h",
        "hours": "h",
        "day": "d",
        "days": "d",
        "Amp": "A",
        "Amps": "A",
        "amp": "A",
        "amps": "A",
        "ampere": "A",
        "amperes": "A",
        "milliampere": "mA",
        "microampere": "uA",
        "Volt": "V",
        "Volts": "V",
        "volt": "V",
        "volts": "V",
        "millivolt": "mV",
        "A.h": "Ah",
        "A*h": "Ah",
        "A h": "Ah",
        "Ahr": "Ah",
        "Amphr": "Ah",
        "Amp-hr": "Ah",
        "ampere hour": "Ah",
        "ampere_hour": "Ah",
        "AmpHr": "Ah",
        "ah": "Ah",
        "mA.h": "mAh",
        "mA*h": "mAh",
        "mA h": "mAh",
        "mAhr": "mAh",
        "mah": "mAh",
        "milliampere_hour": "mAh",
        "uA.h": "uAh",
        "A.s": "As",
        "Coulomb": "C",
        "coulomb": "C",
        "W.h": "Wh",
        "watt_hour": "Wh",
        "mW.h": "mWh",
        "percent": "%",
        "pct": "%",
        "wt%": "%",
        "wt.%": "%",
        "w%": "%",
        "fraction": "1",
        "-": "1",
        "milligram": "mg",
        "gram": "g",
        "°C": "degC",
        "celsius": "degC",
        "micrometre": "um",
        "micron": "um",
        "nanometre": "nm",
        "r/min": "rpm",
        "min-1": "rpm",
        "ohm": "ohm",
        "Ohm": "ohm",
    }
)

_PINT: Mapping[str, str] = MappingProxyType(
    {
        "Ah": "A*h",
        "As": "A*s",
        "Wh": "W*h",
        "%": "percent",
        "1": "dimensionless",
        "rpm": "rpm",
        "C": "coulomb",
        "mC": "millicoulomb",
    }
)


@lru_cache(maxsize=1)
def _registry() -> object:
    import pint

    return pint.UnitRegistry(cache_folder=None)


@lru_cache(maxsize=1024)
def plain(text: str) -> str:
    """Return the plain spelling of a unit as a lab wrote it.

    >>> plain("mAh g-1"), plain("mA·h/cm²"), plain("µA"), plain("mAh_g")
    ('mAh/g', 'mAh/cm2', 'uA', 'mAh/g')
    """
    unit = (
        text.strip()
        .replace("μ", "u")
        .replace("µ", "u")
        .replace("⁻", "-")
        .replace("²", "2")
        .replace("¹", "1")
        .replace("⁻¹", "-1")
        .replace("⁻²", "-2")
        .replace("−", "-")
    )
    unit = re.sub(r"\s+vs\.?\s.*$", "", unit.replace("·", ".").replace("^", ""))
    if unit in _ALIASES:
        return _ALIASES[unit]
    if len(unit) > 2 and unit.lower() in _ALIASES:
        return _ALIASES[unit.lower()]
    unit = re.sub(r"[ _.*]*\(?\b(g|kg|mg)-1\)?$", r"/\1", unit)
    unit = re.sub(r"[ _.*]*\(?\b(cm|m)-2\)?$", r"/\g<1>2", unit)
    unit = re.sub(r"[ _.*]*\b(cm|m)-1$", r"/\1", unit)
    unit = re.sub(r"(?<=h)_(g|kg|mg|cm2|m2)$", r"/\1", unit)
    unit = re.sub(r"(?<=[AgS])_(cm2|m2|cm|m)$", r"/\1", unit)
    if "/" in unit:
        top, _, below = unit.partition("/")
        below = re.sub(r"^(g|mg|kg)[ _]?\(?(active|S|Se|Te|AM|sulfur|sulphur)\)?$", r"\1", below.strip())
        return f"{_ALIASES.get(top.strip(), top.strip())}/{below}"
    return _ALIASES.get(unit, unit)


def is_unit(text: str, quantity: str | None = None) -> bool:
    """Say whether a text is a unit that we know, of any quantity or of the one given."""
    unit = plain(text)
    kinds = (quantity,) if quantity else tuple(ALLOWED)
    return any(unit in ALLOWED[kind] for kind in kinds)


@lru_cache(maxsize=1024)
def factor(text: str, quantity: str) -> float:
    """Return what a value in this unit is multiplied by to stand in the canonical unit of the quantity.

    >>> factor("A", "current"), factor("min", "time"), factor("mAh g-1", "capacity_per_mass")
    (1000.0, 60.0, 1.0)

    Raises:
        Refusal: the unit is none of those that this quantity may carry.
    """
    unit = plain(text)
    if unit not in ALLOWED[quantity]:
        raise Refusal(
            f"unit {text.strip()!r} is no unit of {quantity.replace('_', ' ')}; right would be one of "
            + ", ".join(ALLOWED[quantity])
        )
    if unit == CANONICAL[quantity]:
        return 1.0
    import pint

    registry = _registry()
    assert isinstance(registry, pint.UnitRegistry)
    return float(registry.Quantity(1.0, _for_pint(unit)).to(_for_pint(CANONICAL[quantity])).magnitude)


def _for_pint(unit: str) -> str:
    top, slash, below = unit.partition("/")
    prefix, base = ("", top) if top in _PINT or len(top) < 2 else (top[0], top[1:])
    spelled = _PINT.get(top) or (f"({prefix}{_PINT[base]})" if base in ("Ah", "As", "Wh") else top)
    below = re.sub(r"^(cm|mm|m)2$", r"\1**2", below)
    return spelled + (f"/{below}" if slash else "") if slash else re.sub(r"^(cm|mm|m)2$", r"\1**2", spelled)
