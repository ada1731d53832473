"""Promise 4: news from the lab in any order ends in the same record."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from ledger_kit import WHO, cycles, fast_folder, scalar, small_campaign

from store import Ledger

Event = Any


def fifty_events() -> list[Event]:
    """What happens to four trials in the lab: each event is independent of whether the others were told yet."""
    events: list[Event] = []
    for trial in ("T1", "T2", "T3", "T4"):
        events += [
            lambda led, t=trial: led.issue([t], key=f"{t} issue", **WHO),
            lambda led, t=trial: led.mixed(t + "-M1", key=f"{t} mix", recipe_done={"speed_rpm": 999.0}, **WHO),
            lambda led, t=trial: led.start(t + "-M1-C1", key=f"{t} s1", channel="1", **WHO),
            lambda led, t=trial: led.start(t + "-M1-C2", key=f"{t} s2", channel="2", **WHO),
        ]
        for name in (trial, trial + "-M1", trial + "-M1-C1", trial + "-M1-C2"):
            events.append(
                lambda led, n=name: led.record(results=scalar(n, 2.0), unplanned=True, key=f"{n} scalar", **WHO)
            )
        for name in (trial + "-M1-C1", trial + "-M1-C2"):
            events.append(
                lambda led, n=name: led.record(cycling=cycles(n, [3.0, 2.9]), unplanned=True, key=f"{n} a", **WHO)
            )
            events.append(
                lambda led, n=name: led.record(cycling=cycles(n, [3.0, 2.9, 2.8]), unplanned=True, key=f"{n} b", **WHO)
            )
    events += [
        lambda led: led.register_file("c", "aa", name="x", size=1, **WHO),
        lambda led: led.register_file("c", "aa", name="copy of x", size=1, **WHO),
    ]
    return events


def end_of(ledger: Ledger) -> list[Any]:
    """What stands, without the numbers that say in which order it came."""
    trials, mixes, cells = ledger.trials("c"), ledger.mixes("c"), ledger.cells("c")
    results = ledger.results("c").sort_values(["subject", "value"])
    record = ledger.cycling("c").sort_values(["subject", "cycle"])
    return [
        trials[["state", "speed_rpm", "recipe_differs"]].to_dict("index"),
        dict(sorted(mixes["state"].items())),
        dict(sorted(zip(cells.index, zip(cells["state"], cells["channel"], strict=True), strict=True))),
        results[["subject", "observable", "value"]].to_numpy().tolist(),
        record[["subject", "cycle", "discharge_areal_capacity_mAh_cm2"]].to_numpy().tolist(),
        ledger.files("c")["sha256"].tolist(),
    ]


def told_in(order: list[Event], folder: Path) -> list[Any]:
    ledger = small_campaign(folder, trials=4)
    for event in order:
        event(ledger)
    ledger.verify()
    return end_of(ledger)


def many_orders(count: int) -> None:
    chance = random.Random(50)
    events = fifty_events()
    assert len(events) == 50
    folder = fast_folder()
    try:
        expected = told_in(events, folder)
        assert len(expected[3]) == 16 and len(expected[4]) == 24
        for number in range(count):
            order = events + chance.sample(events, 10)  # ten are told twice
            chance.shuffle(order)
            assert told_in(order, folder) == expected, f"order {number}"
    finally:
        shutil.rmtree(folder)


@pytest.mark.timeout(1200)
def test_50_events_in_any_order_end_alike() -> None:
    many_orders(25)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_50_events_in_1000_orders_end_alike() -> None:
    many_orders(1000)
