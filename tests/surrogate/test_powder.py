"""Powder results before the first cycle: what they add to what the recipe lets expect, and no more."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate.powder import FEWEST_TAUGHT, MOST_DOUBT, first_discharge
from surrogate.readouts import Curve, outlook


def lab(seed: int, n: int = 14, *, slope: float = 0.6, noise: float = 0.1) -> tuple[list[Curve], np.ndarray]:
    """Batches whose first discharge follows a powder reading that their recipes do not foretell; and ln of it."""
    rng = np.random.default_rng(seed)
    reading = rng.standard_normal(n)
    ln_q = math.log(3.0) + slope * reading + noise * rng.standard_normal(n)
    curves = [
        Curve(rng.random(2), ("A",), np.array([math.exp(q)]), {"size_nm": math.exp(z)})
        for q, z in zip(ln_q, reading, strict=True)
    ]
    return curves, ln_q


def unseen(curve: Curve) -> Curve:
    return Curve(curve.recipe, curve.names, np.zeros(0), curve.powder)


def test_a_reading_that_foretells_the_first_discharge_tells_it_and_says_how_well():
    z, sds = [], []
    for seed in range(20):
        curves, truth = lab(seed)
        told = first_discharge([*curves[:10], *map(unseen, curves[10:])])
        assert told[:10] == [None] * 10
        assert all(told[10:])
        z += [(t - item[0]) / item[1] for t, item in zip(truth[10:], told[10:], strict=True) if item]
        sds += [item[1] for item in told[10:] if item]
    assert np.median(sds) < 0.3
    assert 0.5 < np.std(z) < 1.2 and np.mean(np.abs(z) < 1.645) > 0.85


def test_a_reading_that_foretells_nothing_says_nothing():
    told = []
    for seed in range(20):
        curves, _ = lab(seed, slope=0.0, noise=0.25)
        told += first_discharge([*curves[:10], *map(unseen, curves[10:])])[10:]
    assert np.mean([item is None for item in told]) > 0.9


def test_what_the_recipe_tells_already_is_not_told_again():
    """The reading only repeats the name, which the chooser knows."""
    rng = np.random.default_rng(0)
    curves = [
        Curve(np.array([0.5]), (name,), np.array([q * math.exp(0.1 * rng.standard_normal())]), {"size_nm": size})
        for _ in range(6)
        for name, q, size in (("A", 4.0, 100.0), ("B", 1.5, 400.0))
    ]
    assert first_discharge([*curves, unseen(curves[0])])[-1] is None


def test_a_reading_that_nobody_else_has_or_that_is_none_says_nothing():
    curves, _ = lab(3)
    for powder in ({"conductivity_mS_cm": 2.0}, {"size_nm": 0.0}, {"size_nm": math.nan}, {"size_nm": math.inf}, {}):
        batch = Curve(curves[10].recipe, curves[10].names, np.zeros(0), powder)
        assert first_discharge([*curves[:10], batch])[-1] is None


def test_readings_that_some_cells_lack_teach_less():
    curves, _ = lab(4)
    asked = unseen(curves[10])
    poorer = [Curve(c.recipe, c.names, c.discharge, {}) if i % 2 else c for i, c in enumerate(curves[:10])]
    whole, part = (first_discharge([*taught, asked])[-1] for taught in (curves[:10], poorer))
    assert whole is not None and (part is None or part[1] > whole[1])


def test_few_cells_teach_nothing():
    curves, _ = lab(1)
    told = first_discharge([*curves[: FEWEST_TAUGHT - 1], *map(unseen, curves[4:])])
    assert told == [None] * len(told)


def test_an_outlook_from_powder_alone_is_wider_than_one_from_a_cycle_and_moves_no_other():
    curves, _ = lab(2)
    taught, asked = curves[:10], unseen(curves[10])
    (first,) = first_discharge([*taught, asked])[10:]
    alone = outlook(taught, 50)
    both = outlook([*taught, Curve(asked.recipe, asked.names, asked.discharge, asked.powder, first)], 50)
    assert np.array_equal(both.mean[:10], alone.mean) and np.array_equal(both.covariance[:10, :10], alone.covariance)
    cycled = outlook([*taught, curves[10]], 50)
    assert both.sd[10] > cycled.sd[10]
    assert both.sd[10] ** 2 >= first[1] ** 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 20.0), st.one_of(st.none(), st.floats(0.0, 1e6)), st.floats(0.0, 1.0), st.sampled_from("AB")
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_whatever_comes_in_what_is_told_is_finite_and_of_bounded_doubt(rows, cycled):
    curves = [
        Curve(
            np.array([x]),
            (name,),
            np.array([q]) if i < cycled else np.zeros(0),
            {} if reading is None else {"size_nm": reading},
        )
        for i, (q, reading, x, name) in enumerate(rows)
    ]
    told = first_discharge(curves)
    assert len(told) == len(curves)
    for item, curve in zip(told, curves, strict=True):
        if len(curve.discharge) or not curve.powder:
            assert item is None
        if item is not None:
            assert math.isfinite(item[0]) and 0 < item[1] < MOST_DOUBT
