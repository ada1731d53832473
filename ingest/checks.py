"""The checks that caught real errors in real files: sign, clocks, two capacities, plausible values; each says what it found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from campaign.errors import Refusal
from ingest.cycles import Row
from ingest.findings import Finding, Level, Start
from ingest.halfcycles import HalfCycle, signs
from ingest.series import Series

SIGN_REFUSED, SIGN_WARNED = 0.5, 0.9
WARN_SHARE, FLAG_SHARE = 0.005, 0.05
"""Difference of the two capacities: above, a warning; above, a flag. Fine sampling agrees to 0.04 %, coarse to 2.1 %."""
_FACTORS = (60.0, 1000.0, 3600.0, 86400.0)
_COARSE_CURRENT = 0.02
_PIECES = 20
MAX_CE = 3.0
MAX_THEORY = 10.0
MAX_CAPACITY_MAH = 1e6
"""A thousand ampere hours: no cell of a lab, whatever its mass (the largest real file that we read holds 5 Ah)."""
HIGH_SHARE, LOW_SHARE = 1.5, 0.005


@dataclass(frozen=True)
class CellFacts:
    """What only the cell's own record can say; a file is never believed on its mass or area."""

    active_mass_mg: float | None = None
    area_cm2: float | None = None
    active_wt_pct: float | None = None
    """Share of active in the composite: needed where a file counts per gram of composite."""
    capacity_mAh_g: float | None = None
    """Theoretical capacity of the active."""

    @property
    def theory_mAh(self) -> float | None:
        """Theoretical capacity of the cell, if its mass and active are known."""
        if self.active_mass_mg is None or self.capacity_mAh_g is None:
            return None
        return self.active_mass_mg * self.capacity_mAh_g / 1000.0


def sign(series: Series, place: str) -> Finding:
    """Check that the voltage moves with the current: share of |dV| (per step) whose sign is that of I.

    Raises:
        Refusal: the share is under 0.5: charge and discharge are swapped.
    """
    direction = signs(series.current_mA)
    edges = np.flatnonzero(np.diff(direction)) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges - 1, [series.rows - 1]))
    moved = series.voltage_V[ends] - series.voltage_V[starts]
    carrying = direction[starts] != 0
    total = float(np.abs(moved[carrying]).sum())
    if total <= 1e-6:
        return Finding("sign", "warning", "the voltage does not move, so the sign of the current could not be checked")
    share = float(np.abs(moved[carrying & (np.sign(moved) == direction[starts])]).sum()) / total
    up, down = series.voltage_V[direction > 0], series.voltage_V[direction < 0]
    polarised = (
        len(up) > 0 and len(down) > 0 and float(up.mean() - down.mean()) > 2 * float(np.abs(moved[carrying]).max())
    )
    if share < SIGN_REFUSED and not polarised:
        raise Refusal(
            f"{place}: the voltage falls where the current is positive and rises where it is negative (only "
            f"{share:.0%} agree); "
            "charge must be positive: reverse the sign of the current column, or export with charge positive"
        )
    level: Level = "ok" if share >= SIGN_WARNED else "warning"
    return Finding("sign", level, f"{share:.1%} of the voltage change goes with the sign of the current", value=share)


def time_unit(series: Series, place: str) -> Finding:
    """Check test time against the wall clock.

    Raises:
        Refusal: they differ by a factor 60, 1000 or 3600: the unit of the time column is wrong.
    """
    if series.wall_s is None or series.rows < 3:
        return Finding("time_unit", "note", "the file has no usable wall clock to check the test time against")
    tested, wall = float(series.time_s[-1] - series.time_s[0]), float(series.wall_s[-1] - series.wall_s[0])
    if tested <= 0 or wall < 10:
        return Finding("time_unit", "note", "the wall clock says too little to check the test time against")
    ratio = wall / tested
    for factor in (*_FACTORS, *(1 / factor for factor in _FACTORS)):
        if abs(ratio / factor - 1) < 0.05:
            name = f"{factor:g} times" if factor > 1 else f"1/{1 / factor:g} of"
            raise Refusal(
                f"{place}: the wall clock moves {name} the test time; the unit of the time column is not what its "
                "header says"
            )
    level: Level = "ok" if 0.9 <= ratio <= 1.5 else "warning"
    return Finding("time_unit", level, f"the wall clock moves {ratio:.3g} times the test time", value=ratio)


def two_capacities(cycles: list[Row]) -> list[Finding]:
    """Compare our integral with the vendor's own counter, per half-cycle; the integral is the one used."""
    findings = []
    worst = 0.0
    compared = 0
    for kind in ("discharge", "charge"):
        for row in cycles:
            ours, theirs = row[f"{kind}_capacity_mAh"], row[f"vendor_{kind}_capacity_mAh"]
            if not (np.isfinite(ours) and np.isfinite(theirs)):
                continue
            compared += 1
            gap = abs(ours - theirs) / max(ours, theirs, 1e-300)
            worst = max(worst, gap)
            if gap > WARN_SHARE:
                level: Level = "flag" if gap > FLAG_SHARE else "warning"
                sentence = (
                    f"cycle {row['cycle']} {kind}: integral {ours:.5g} mAh, vendor {theirs:.5g} mAh ({gap:.1%} "
                    "apart); the integral is used"
                )
                findings.append(Finding("two_capacities", level, sentence, cycle=int(row["cycle"]), value=gap))
    if not compared:
        return [Finding("two_capacities", "note", "the file has no usable capacity counter; the integral stands alone")]
    return findings or [
        Finding(
            "two_capacities",
            "ok",
            f"integral and vendor's counter agree within {worst:.2%} in {compared} half-cycles",
            value=worst,
        )
    ]


def sampling(halves: list[HalfCycle]) -> list[Finding]:
    """Warn where rows are so far apart that the instant of a switch matters, and no counter of the vendor settles it."""
    findings = []
    for number, half in enumerate(halves, start=1):
        share = half.unsure_mAh / half.charge_mAh if half.charge_mAh > 0 else 0.0
        if np.isnan(half.vendor_mAh) and share > 2 * WARN_SHARE:
            kind = "discharge" if half.sign < 0 else "charge"
            sentence = (
                f"half-cycle {number} ({kind}): rows are so far apart that the instants of switching leave up to {share:.1%} "
                "of its charge unsure; log more often, or export the step time"
            )
            findings.append(Finding("sampling", "warning", sentence, value=share))
    return findings


def step_clock(series: Series, place: str) -> list[Finding]:
    """Check the step time against the test time inside steps.

    Raises:
        Refusal: nearly all intervals say the same other ratio: one of the two clocks has another unit or was made up.
    """
    if series.step_time_s is None or series.rows < 5:
        return []
    tested, stepped = np.diff(series.time_s), np.diff(series.step_time_s)
    inside = (stepped > 0) & (tested > 0)
    if int(inside.sum()) < 5:
        return []
    ratio = tested[inside] / stepped[inside]
    middle = float(np.median(ratio))
    if abs(middle - 1) > 0.2 and float(np.mean(np.abs(ratio / middle - 1) < 0.02)) > 0.8:
        raise Refusal(
            f"{place}: inside a step the test time moves {middle:.3g} times the step time, so one of the two is in "
            "another unit than its header says"
        )
    return [
        Finding("step_clock", "ok", f"inside a step the test time moves {middle:.4g} times the step time", value=middle)
    ]


def coarse_current(series: Series, two: list[Finding]) -> list[Finding]:
    """Say where a current written with one digit explains that the two capacities differ, or leaves one unchecked."""
    if series.current_derived:
        return [Finding("current", "note", "the file has no current; it was taken as dq/dt")]
    levels = np.unique(np.abs(series.current_mA[signs(series.current_mA) != 0]))
    if len(levels) < 2:
        step, coarse = (
            (float(levels[0]) if len(levels) else 0.0),
            len(levels) == 1 and len(f"{levels[0]:.12g}".strip("0.")) == 1,
        )
    else:
        step = float(np.min(np.diff(levels)))
        coarse = step > 2 * _COARSE_CURRENT * float(levels[-1]) and bool(
            np.allclose(levels / step, np.round(levels / step), atol=0.01)
        )
    if not coarse or not any(finding.level in ("warning", "flag") for finding in two):
        return []
    return [
        Finding(
            "current",
            "warning",
            f"the current is written in steps of {step:.3g} mA, so its integral may be off by several per cent",
            value=step,
        )
    ]


def refuse_sweep(series: Series, halves: list[HalfCycle], place: str) -> None:
    """Refuse a voltammogram: the voltage is swept at one rate and the current follows, which is no cycling.

    Each half-cycle is cut into pieces of equal time; cycling holds the current (or the voltage) in most of them.

    Raises:
        Refusal: in most pieces neither is held, and |dV/dt| is the same in all of them.
    """
    held, rates = [], []
    for half in sorted(halves, key=lambda half: half.first - half.last)[:20]:
        for piece in np.array_split(np.arange(half.first, half.last + 1), _PIECES):
            if len(piece) < 5:
                continue
            current, voltage = np.abs(series.current_mA[piece]), series.voltage_V[piece]
            spread = float(np.ptp(current)) / max(float(current.max()), 1e-300)
            held.append(spread < 0.1 or float(np.ptp(voltage)) < 0.005)
            duration = float(series.time_s[piece[-1]] - series.time_s[piece[0]])
            rates.append(abs(float(voltage[-1] - voltage[0])) / max(duration, 1e-9))
    if len(held) >= _PIECES and float(np.mean(held)) < 0.5:
        low, high = np.quantile(rates, [0.25, 0.75])
        if high <= 1.3 * low:
            raise Refusal(
                f"{place}: the voltage is swept at a steady {float(np.median(rates)) * 1000:.3g} mV/s and the "
                "current follows: a voltammogram, not galvanostatic cycling"
            )


def gaps(series: Series, halves: list[HalfCycle]) -> list[Finding]:
    """Warn of an interval under current so long that a piece of the record seems to be missing."""
    direction = signs(series.current_mA)
    gap = np.diff(series.time_s)
    inside = (direction[1:] != 0) & (direction[1:] == direction[:-1])
    if not inside.any() or not halves:
        return []
    typical = float(np.median(gap[inside]))
    longest = float(gap[inside].max())
    if longest > max(20 * typical, 600.0) and longest > 0.02 * float(series.time_s[-1] - series.time_s[0]) / len(
        halves
    ):
        row = int(np.flatnonzero(inside & (gap == longest))[0])
        return [
            Finding(
                "gap",
                "warning",
                f"no row for {longest / 3600:.2g} h under current (after data row {row + 1}); is a piece missing?",
                value=longest,
            )
        ]
    return []


def plausible(cycles: list[Row], facts: CellFacts, *, start: Start, place: str) -> list[Finding]:
    """Refuse what cannot be, flag what hardly can be.

    Raises:
        Refusal: a negative capacity, ten times the theory, or a coulombic efficiency of 300 % or more.
    """
    findings = []
    theory = facts.theory_mAh
    if facts.active_mass_mg == 1.0:
        findings.append(
            Finding("mass", "flag", "an active mass of exactly 1 mg looks like a value never entered; is it right?")
        )
    for row in cycles:
        for kind in ("discharge", "charge"):
            amount = row[f"{kind}_capacity_mAh"]
            if np.isfinite(amount) and amount < 0:
                raise Refusal(f"{place}: cycle {row['cycle']} has a negative {kind} capacity ({amount:.4g} mAh)")
            if np.isfinite(amount) and amount > MAX_CAPACITY_MAH:
                raise Refusal(
                    f"{place}: cycle {row['cycle']} {kind} gave {amount:.4g} mAh, more than any cell of a lab; is the unit right?"
                )
            if theory and np.isfinite(amount):
                findings += _against_theory(
                    float(amount), theory, f"cycle {row['cycle']} {kind}", place, int(row["cycle"])
                )
        name = "ce_out_in"
        value = row[name]
        if np.isfinite(value) and value >= MAX_CE:
            raise Refusal(
                f"{place}: cycle {row['cycle']} has a coulombic efficiency ({name}) of {value:.0%}, which cannot be; "
                "are two columns swapped or cycles missing?"
            )
        if np.isfinite(value) and not 0.5 <= value <= 1.2:
            findings.append(
                Finding(
                    "efficiency",
                    "warning",
                    f"cycle {row['cycle']}: {name} is {value:.1%}",
                    cycle=int(row["cycle"]),
                    value=float(value),
                )
            )
    return findings


def _against_theory(amount: float, theory: float, what: str, place: str, cycle: int) -> list[Finding]:
    share = amount / theory
    if share >= MAX_THEORY:
        raise Refusal(
            f"{place}: {what} gave {amount:.4g} mAh, {share:.3g} times the theory of this cell ({theory:.4g} mAh); "
            "is the unit, or the cell's mass, right?"
        )
    if share > HIGH_SHARE:
        sentence = (
            f"{what}: {amount:.4g} mAh is {share:.2g} times the theory of the active ({theory:.4g} mAh); doubled, or "
            "the wrong mass?"
        )
        return [Finding("theory", "flag", sentence, cycle=cycle, value=share)]
    if share < LOW_SHARE and cycle == 1:
        return [
            Finding(
                "theory",
                "flag",
                f"{what}: only {share:.2g} of the theory of the active; is the unit, or the cell's mass, right?",
                cycle=cycle,
                value=share,
            )
        ]
    return []
