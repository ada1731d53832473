"""Days and cells until the recommended recipe is within 5 % of the lab's best, at this and every later weekly check.

    python benchmarks/lab_calendar.py --seeds 100-119
    python benchmarks/lab_calendar.py --quick

8 channels, one mixer, partial curves, working hours (flows/rehearsal_calendar.py); horizon 730 days, censored there. With
`--most-tests` a campaign ends after so many cells: it is cheaper to compute, and says less, as one that ends early and wrong
counts as 730 days though the lab had more than a year left. Ours runs on partial curves, stops and starts cells by its own
advice. Peers run asynchronously on the same clock: (a) on the objective itself, cells run to their end; (b) on the capacity at
cycle 25, cells stopped there; (c) fed the outcome that our early evidence expects of every cell, from its first cycle on and as
it changes, cells stopped by our advice. And one factor at a time.
Tuned on seeds 0-99, reported on 100-199.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import _bench as bench
import numpy as np
import pandas as pd
from _peers import AHEAD, ON_THE_CLOCK, EarlyPeer, EarlyPeerChooser, OneFactorAtATime, Peer, PeerChooser, identity
from sample_efficiency import check, prints, simulator_print, stage_of

from campaign.errors import Refusal
from flows.rehearsal_calendar import WITHIN, Bench

EARLY = 25
HORIZON_DAYS = 730.0
UNLIMITED = Bench.most_tests
OURS = "mixwright"
TOOLS = ("ax", "baybe", "optuna-gp")
METHODS = (OURS, *(f"{tool} ({kind})" for kind in "abc" for tool in TOOLS), "one factor at a time")


def tool_of(method: str) -> str:
    """The peer behind a method, as it is run on the clock."""
    tool = method.split(" ")[0]
    return f"{tool}-early" if method.endswith("(c)") else ON_THE_CLOCK.get(tool, tool)


def chooser(method: str, stage: Any, seed: int) -> Any:
    """Open one method on the clock."""
    if method == OURS:
        return stage.product(seed=seed)
    sign = 1.0 if stage.question.objective.goal == "max" else -1.0
    final = _Value(stage)
    if method.startswith("one factor"):
        return OneFactorAtATime(stage.question.space, last_cycle=stage.last_cycle, value=final.at_the_end, goal=sign)
    if method.endswith("(c)"):
        told_anew = EarlyPeer(tool_of(method), stage.question.space, seed)
        return EarlyPeerChooser(told_anew, stage.product(seed=seed), goal=sign)
    peer = Peer(tool_of(method), stage.question.space, seed)
    value = {"(a)": final.at_the_end, "(b)": final.as_at_25}[method.split(" ")[1]]
    last = stage.last_cycle if method.endswith("(a)") else min(EARLY, stage.last_cycle)
    return PeerChooser(peer, last_cycle=last, value=value, goal=sign)


class _Value:
    """What a peer is told of a cell."""

    def __init__(self, stage: Any) -> None:
        self.last_cycle, self.early, self.outcome = (
            stage.last_cycle,
            stage.product(seed=0).early,
            stage.question.objective.outcome,
        )

    def at_the_end(self, test: Any, tests: Any) -> float:
        """The objective; NaN where the cell died before."""
        del tests
        return self._as_after(test, self.last_cycle)

    def as_at_25(self, test: Any, tests: Any) -> float:
        """The objective as if nothing changed after cycle 25."""
        del tests
        return self._as_after(test, min(EARLY, self.last_cycle))

    def _as_after(self, test: Any, n: int) -> float:
        if len(test.discharge) < n:
            return float("nan")
        held = np.append(test.discharge[:n], np.full(self.last_cycle - n, test.discharge[n - 1]))
        whole = replace(test, discharge=held, state="ended")
        return float(self.early.of([whole]).table[self.outcome].iloc[0])


def run(task: tuple[str, str, int, int, float, str, str | None]) -> dict[str, Any]:
    """One campaign of one method on one lab."""
    from flows.rehearsal_calendar import play

    method, level, seed, most_tests, horizon, campaign, lab_file = task
    stage = stage_of(campaign, level, lab_file)
    stage.setting = type(stage.setting)(campaign, level, lab_file, horizon)
    lab = stage.lab(seed)
    made = chooser(method, stage, seed)
    played = play(lab, made, stage.bench(most_tests=most_tests))
    version = OURS
    if isinstance(made, PeerChooser | EarlyPeerChooser):
        version = made.peer.version
        made.peer.close()
    reached = played.within()
    return {
        "days": reached[0] if reached else None,
        "cells": reached[1] if reached else None,
        "used": len(played.tests),
        "weeks": played.weeks[["day", "cells", "regret"]].to_dict("list"),
        "version": version,
    }


def run_key(
    method: str, level: str, seed: int, *, most_tests: int, lab: str, campaign: str, simulator: str
) -> dict[str, Any]:
    """All that a run depends on: `lab` and `simulator` are digests, `campaign` the hash of what is asked and of the bench."""
    key = {
        "method": method,
        "level": level,
        "seed": seed,
        "most_tests": most_tests,
        "lab": lab,
        "campaign": campaign,
        "code": bench.product_hash() if method == OURS else _theirs(method),
    }
    return key | {"simulator": simulator} if asks_the_physics(method) else key


def asks_the_physics(method: str) -> bool:
    """Whether a method's choices rest on the simulator: ours, and peers that are told our early outcome."""
    return method == OURS or method.endswith("(c)")


def _theirs(method: str) -> str:
    """Only a peer that is told our early outcome depends on how it is worked out, and on how cells are stopped."""
    early, advised = bench.hash_of(*bench.EARLY), bench.hash_of("flows/advice.py")
    told = f", early {early}, advice {advised}" if method.endswith("(c)") else ""
    return f"{identity(tool_of(method))}, {AHEAD} ahead, clock {bench.hash_of(*bench.CLOCK)}{told}"


def main() -> None:
    """Run, print, draw."""
    parser = bench.arguments(__doc__, seeds="100-119")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--most-tests", type=int, default=UNLIMITED, help="cells a campaign; without it as many as fit")
    args = parser.parse_args()
    methods, seeds, most, horizon = args.methods.split(","), bench.span(args.seeds), args.most_tests, HORIZON_DAYS
    levels = args.levels.split(",")
    if args.quick:
        seeds, most, levels = seeds[:1], 12, levels[:1]
        methods = [name for name in methods if name in (OURS, "optuna-gp (a)", "optuna-gp (b)", "one factor at a time")]
    if check(args.campaign, args.lab, bounds=True).outcome_constraints and (peers := [m for m in methods if m != OURS]):
        raise Refusal(
            f"{args.campaign}: outcome_constraints: {peers[0]} is told values of the objective alone and cannot keep to bounds; "
            f"leave them out, or name --methods {OURS}"
        )
    traces = bench.Traces("lab_calendar", fresh=bench.span(args.fresh), ours=bench.product_hash(), lab=args.lab)
    labs = {level: prints(list(seeds), level, args.campaign, args.lab) for level in levels}
    asked, simulator = bench.campaign_hash(args.campaign), ""
    if any(map(asks_the_physics, methods)):
        simulator = simulator_print(stage_of(args.campaign, levels[0], args.lab), curves=True)

    def key_of(method: str, level: str, seed: int) -> dict[str, Any]:
        return run_key(method, level, seed, most_tests=most, lab=labs[level][seed], campaign=asked, simulator=simulator)

    jobs = [(m, level, s) for level in levels for s in seeds for m in methods]
    left = [job for job in jobs if traces.get(key_of(*job)) is None]
    if left:
        tasks = [(*job, most, horizon, args.campaign, args.lab) for job in left]
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
            for job, trace in zip(left, pool.map(run, tasks), strict=True):
                traces.put(key_of(*job), trace)
                print(f"{job}: day {trace['days']}, {trace['used']} cells", file=sys.stderr, flush=True)
    rows = []
    for method, level, seed in jobs:
        trace = traces.of(key_of(method, level, seed))
        reached = trace["days"] is not None
        rows.append(
            {
                "level": level,
                "seed": seed,
                "method": method,
                "days": trace["days"] if reached else horizon,
                "cells": trace["cells"] if reached else trace["used"],
                "reached": reached,
                "weeks_within": share_within(trace["weeks"]["regret"]),
                "regret_end": trace["weeks"]["regret"][-1],
                "weeks": trace["weeks"],
            }
        )
    goals = report(pd.DataFrame(rows), most)
    bench.save(args.json, {"rows": rows, "goals": goals, "seeds": args.seeds})


def share_within(regrets: Iterable[float]) -> float:
    """Share of all weekly checks to the horizon, with what was recommended last standing."""
    checks = int(HORIZON_DAYS / 7)
    within = [value <= WITHIN for value in regrets]
    return sum([*within, *within[-1:] * (checks - len(within))][:checks]) / checks


def report(rows: pd.DataFrame, most: int) -> list[dict[str, Any]]:
    """Table, picture, goals."""
    limit = f", {most} cells a campaign at most" if most < UNLIMITED else ""
    print(f"days and cells until the recommended recipe stays within 5 %; censored at 730 days{limit}")
    print(
        "weeks_within: share of the weekly checks of 730 days that find it so, the last one standing where a campaign ended"
    )
    print(
        rows.groupby(["level", "method"], sort=False)[["days", "cells", "reached", "weeks_within", "regret_end"]]
        .mean()
        .round(2)
        .to_string()
    )
    bench.picture("lab_calendar", lambda figure: _draw(figure, rows))
    goals = []
    for level, part in rows.groupby("level", sort=False):
        days, cells = (part.pivot(index="seed", columns="method", values=name) for name in ("days", "cells"))
        if OURS not in days:
            continue
        for kind, bound in (("(a)", 1 / 5), ("(b)", 1 / 2), ("(c)", 2 / 3), ("time", 1 / 20)):
            peers = [str(name) for name in days if str(name).endswith(kind)]
            if peers:
                best = min(peers, key=lambda name: days[name].mean())
                centre, _, high = bench.ratio(days[OURS], days[best])
                goals.append(bench.goal(f"{level}: days over {best}", centre, bound, high=high))
        peers = [str(name) for name in cells if name != OURS and not str(name).startswith("one factor")]
        if peers:
            best = min(peers, key=lambda name: cells[name].mean())
            centre, _, high = bench.ratio(cells[OURS], cells[best])
            goals.append(bench.goal(f"{level}: cells over {best}", centre, 1 / 2, high=high))
    return goals


def _draw(figure: Any, rows: pd.DataFrame) -> None:
    levels = list(dict.fromkeys(rows["level"]))
    for i, level in enumerate(levels):
        axes = figure.add_subplot(1, len(levels), i + 1)
        for method, part in rows[rows["level"].eq(level)].groupby("method", sort=False):
            days = np.arange(7.0, 731.0, 7.0)
            held = [
                np.interp(days, w["day"], np.nan_to_num(np.array(w["regret"], dtype=float), nan=1.0))
                for w in part["weeks"]
            ]
            axes.plot(days, 100 * np.median(held, axis=0), label=method, lw=2.4 if method == OURS else 1.1)
        axes.axhline(5, color="#888888", lw=0.8)
        axes.set(
            title=f"{level} labs (simulated)",
            xlabel="days",
            ylabel="recommended worse than the best (%), median",
            ylim=(0, 100),
        )
        axes.legend(fontsize=6, frameon=False)


if __name__ == "__main__":
    bench.entry(main)
