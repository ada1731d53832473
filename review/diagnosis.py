"""How far the model deserves belief, in numbers and in plain words; the tables come in with `Diagnosis`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr
from scipy.stats import binom

from review.data import Diagnosis, PriorInfluence, is_measured
from review.words import label, number

FEWEST = 3
"""With fewer results one left out leaves nothing to predict it from."""
LEVELS = (0.9, 0.8, 0.5)
FEW = 10
"""Below so many results hardly any count of intervals can speak against a model."""
BY_CHANCE = 0.9
"""How often the count of a model whose intervals are right lies in the range that is called chance."""
POOR_R2 = 0.3
"""Under so much foretold of the results, what the model says of the settings is not yet worth much."""
SMALL, APART = 0.05, 0.2
"""Share of the variance under which a setting hardly matters, and above which settings are said to act together."""
TELLING = 3.0
"""Factor on the odds from which on results are said to have spoken for or against the prior."""
MOST_ODDS = 100.0
"""Beyond such odds the model does not tell them apart: it drops its parts of less than a hundredth."""
_NAMED = 6


def r2(parity: pd.DataFrame) -> float:
    """Return the share of the differences between results that the others foretell; NaN where they do not differ."""
    found, predicted = parity["found"].to_numpy(dtype=float), parity["predicted"].to_numpy(dtype=float)
    spread = float(((found - found.mean()) ** 2).sum()) if len(found) > 1 else 0.0
    return 1.0 - float(((found - predicted) ** 2).sum()) / spread if spread > 0 else math.nan


def held(parity: pd.DataFrame, level: float) -> pd.Series:
    """Say which results lay inside their interval of this level.

    A flagged result did not, whatever its interval: that was widened because the result contradicts the others.
    """
    inside = np.abs(ndtr(parity["z"].to_numpy(dtype=float)) - 0.5) <= 0.5 * level
    return pd.Series(inside & ~parity["flagged"].to_numpy(dtype=bool), index=parity.index)


def calibration(parity: pd.DataFrame) -> pd.DataFrame:
    """Return per level of interval how many results it held, and between what a model whose intervals are right would.

    Returns:
        `level`, `held`, `results`, `chance_low`, `chance_high` (nine times in ten the count lies between these).
    """
    n = len(parity)
    rows = [(level, int(held(parity, level).sum()), n, *binom.interval(BY_CHANCE, n, level)) for level in LEVELS]
    table = pd.DataFrame(rows, columns=["level", "held", "results", "chance_low", "chance_high"])
    return table.astype({"chance_low": int, "chance_high": int}) if n else table.iloc[:0]


def why_nothing(diagnosis: Diagnosis) -> str | None:
    """Say why the model cannot be checked yet; None where it can."""
    n = len(diagnosis.parity)
    if n >= FEWEST:
        return None
    so_far = "No result" if n == 0 else f"Only {_counted(diagnosis.parity)}"
    return f"{so_far} so far: the model can be checked from {FEWEST} results on, each predicted from all others."


def summary(diagnosis: Diagnosis) -> str | None:
    """Say in one sentence how the model did where each result was left out in turn; None where it cannot be checked yet."""
    parity = diagnosis.parity
    if why_nothing(diagnosis):
        return None
    inside, share = int(held(parity, LEVELS[0]).sum()), r2(parity)
    explained = "" if math.isnan(share) else f", leave-one-out R² {number(share, 2)}"
    return (
        f"How far to believe the model: with each of the {_counted(parity)} predicted from all others, {inside} of {len(parity)} "
        f"lay inside their {_percent(LEVELS[0])} interval{explained}."
    )


def sentences(diagnosis: Diagnosis) -> tuple[str, ...]:
    """Say how far the model deserves belief; where it cannot be checked yet, why."""
    nothing = why_nothing(diagnosis)
    prior = [] if diagnosis.prior is None else [_prior(diagnosis.prior)]
    if nothing:
        return (nothing, *prior)
    parity = diagnosis.parity
    return (*_calibrated(parity), _foretold(parity), *_flagged(parity), *_sensitive(diagnosis), *prior)


def as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return all that speaks for or against the model: the sentences, and the numbers behind them."""
    return {
        "sentences": list(sentences(diagnosis)),
        "r2": r2(diagnosis.parity),
        "calibration": calibration(diagnosis.parity),
        "sensitivity": diagnosis.sensitivity,
        "prior": None if diagnosis.prior is None else asdict(diagnosis.prior),
        "parity": diagnosis.parity,
    }


def _counted(parity: pd.DataFrame) -> str:
    """Count results with their label: "24 simulated results", "3 measured and 2 simulated results"."""
    kinds = parity["evaluator"].map(lambda name: "measured" if is_measured(str(name)) else "simulated")
    counts = kinds.value_counts()
    return f"{_and([f'{count} {kind}' for kind, count in counts.items()])} result{'s' if len(parity) > 1 else ''}"


def _calibrated(parity: pd.DataFrame) -> list[str]:
    table = calibration(parity)
    n = len(parity)
    first, *others = table.to_dict("records")
    parts = [
        f"{first['held']} of {n} lay inside their {_percent(first['level'])} interval (right intervals hold {_range(first)} nine "
        "times in ten)"
    ]
    parts += [f"{row['held']} inside the {_percent(row['level'])} one ({_range(row)})" for row in others]
    said = [f"Each of the {_counted(parity)} was predicted from all others: {_and(parts)}."]
    few = [_percent(level) for level in table.loc[table["held"] < table["chance_low"], "level"]]
    many = [_percent(level) for level in table.loc[table["held"] > table["chance_high"], "level"]]
    if few:
        said.append(f"The intervals are too narrow at {_and(few)}: what is found strays further than the model says.")
    if many:
        said.append(f"The intervals are wider than need be at {_and(many)}: the model knows more than it claims.")
    if not few and not many:
        said.append(
            "That is what right intervals would give." + (" So few results could hardly deny them." if n < FEW else "")
        )
    if repeated := int(parity["repeated"].sum()):
        said.append(f"{repeated} of the results share their recipe with another, which makes them easier to foretell.")
    return said


def _range(row: Mapping[Any, Any]) -> str:
    low, high = row["chance_low"], row["chance_high"]
    return f"{low} to {high}" if low < high else f"{low}"


def _foretold(parity: pd.DataFrame) -> str:
    share = r2(parity)
    if math.isnan(share):
        return "The results do not differ, so how much of their differences is foretold cannot be said."
    told = f"leave-one-out R² {number(share, 2)}"
    if share < 0:
        return (
            f"The results are foretold worse than by their own mean ({told}): the model has not yet learned what decides; "
            "go by its intervals, not by its single numbers."
        )
    without = parity[~parity["flagged"].astype(bool)]
    rest = f"; {number(r2(without), 2)} without the flagged" if FEWEST <= len(without) < len(parity) else ""
    return f"Of the differences between the results {_percent(share)} are foretold by the others ({told}{rest})."


def _flagged(parity: pd.DataFrame) -> list[str]:
    trials = list(dict.fromkeys(str(name) for name in parity.loc[parity["flagged"].astype(bool), "trial_id"]))
    if not trials:
        return []
    one = len(trials) == 1
    return [
        f"{_listed(trials)} contradict{'s' if one else ''} the others: kept, learned from with a wide error, and counted here as "
        f"outside {'its' if one else 'their'} intervals. Look at what the record says of {'it' if one else 'them'}."
    ]


def _sensitive(diagnosis: Diagnosis) -> list[str]:
    table = diagnosis.sensitivity.sort_values("total", ascending=False, kind="stable")
    if table.empty or table["total"].max() < SMALL:
        return ["No setting changes what the model expects: it has learned nothing of them yet."] if len(table) else []
    matter, rest = table[table["total"] >= SMALL], table[table["total"] < SMALL]
    shares = [
        f"{setting(row['parameter'])} ({_percent(row['first'])}, {_percent(row['total'])})"
        for row in matter.to_dict("records")
    ]
    lines = [
        f"Which settings matter: over the whole space most of what the model expects hangs on {shares[0]}"
        f"{', then on ' if shares[1:] else ''}{_and(shares[1:])}; in brackets the share of its variance that is of the setting "
        "alone, and with its interplay with the others."
    ]
    if len(rest):
        named = _and([setting(name) for name in rest["parameter"]])
        lines.append(f"{named[0].upper()}{named[1:]} hardly matter{'s' if len(rest) == 1 else ''}.")
    together = 1.0 - float(table["first"].sum())
    if together > APART:
        lines.append(
            f"{_percent(together)} is interplay: the settings cannot be chosen one by one, the best of one depends on the others."
        )
    if not r2(diagnosis.parity) >= POOR_R2:
        lines.append("As little of the results is foretold so far, this may still change.")
    return lines


def _prior(prior: PriorInfluence) -> str:
    if math.isnan(prior.log_odds):
        return "The prior says the same of every recipe, so it has no part in what is believed."
    change = math.exp(prior.log_odds - prior.log_odds_before)
    verdict = "neither borne it out nor denied it"
    if change > TELLING or change < 1.0 / TELLING:
        verdict = f"spoken {'for' if change > 1.0 else 'against'} it"
    return (
        f"The prior is trusted to explain {_percent(prior.trust)} of the differences between recipes "
        f"({_percent(prior.trust_before)} before any result). The odds that it has any part in them are "
        f"{_odds(prior.log_odds)} ({_odds(prior.log_odds_before)} before any result): the results have {verdict}."
        + _likeness(prior)
    )


def _likeness(prior: PriorInfluence) -> str:
    if math.isnan(prior.likeness):
        return ""
    turned = ": what it ranks high is believed to be low" if prior.likeness < 0 else ""
    return f" Its ranking of recipes and the one believed now have a rank correlation of {prior.likeness:.2f}{turned}."


def _odds(log_odds: float) -> str:
    """Write odds as people say them.

    >>> _odds(2.2), _odds(-0.7), _odds(27.0)
    ('9 to 1', '1 to 2', 'over 100 to 1')
    """
    factor = math.exp(min(abs(log_odds), 50.0))
    beyond = factor > MOST_ODDS
    told = number(MOST_ODDS if beyond else factor, 2 if factor >= 1.95 else 3)
    if log_odds >= 0:
        return f"{'over ' if beyond else ''}{told} to 1"
    return f"{'under ' if beyond else ''}1 to {told}"


def setting(name: str) -> str:
    """Name a setting without its unit, as a share of variance has none; wt% stays, it says what of the material is meant.

    >>> setting("speed_rpm"), setting("active_wt_pct")
    ('speed', 'active wt%')
    """
    return label(name).replace(" (wt%)", " wt%").partition(" (")[0]


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED])
    return _and([*shown, f"{len(names) - _NAMED} more"] if len(names) > _NAMED else shown)


def _and(parts: Sequence[str]) -> str:
    """Join parts as a sentence does.

    >>> _and(["a", "b", "c"]), _and(["a"])
    ('a, b and c', 'a')
    """
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
