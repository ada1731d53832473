"""A Hypothesis state machine: the ledger beside a plain model of what a careful person would have written down.

The model knows nothing of SQL. After each step the answers agree; at the end the whole ledger agrees, and so does what it
says of every earlier moment that was looked at. CI: 500 stories of 40 steps; soak: 5000 of 60; in shards, for two workers.
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from ledger_kit import DECISION, WHO, cycles, designs, fast_folder, new_ledger, scalar

from campaign.errors import Refusal
from store import Ledger, Stale


@cache
def _desk() -> tuple[Path, Ledger]:
    """One opened ledger for all stories, so that each statement is compiled once."""
    ledger = new_ledger(folder := fast_folder())
    ledger.put_campaign("c", {}, **WHO)
    ledger.issue([], key="taken", **WHO)
    shutil.copyfile(folder / "ledger.db", folder / "blank.db")
    return folder, ledger


def blank_ledger() -> Ledger:
    """The one ledger, its file put back to two writes; nothing holds it open between two statements."""
    folder, ledger = _desk()
    shutil.copyfile(folder / "blank.db", folder / "ledger.db")
    return ledger


@cache
def some_designs(count: int) -> pd.DataFrame:
    """Made once: the machine is about the ledger, not about making tables."""
    return designs(count, speed_rpm=100.0 * count)


@cache
def published_result(value: float) -> pd.DataFrame:
    return scalar("x", value).drop(columns="subject").assign(design=0)


VALUES = st.sampled_from([0.5, 1.0, 2.5])
PICK = st.integers(0, 10**6)
VERBS = st.sampled_from(["issue", "complete", "fail", "abandon", "exclude", "undo", "stop", "start", "mixed"])


@dataclass
class Notebook:
    """The model: what stands, and the earlier states of each subject for undo."""

    states: dict[str, list[str]] = field(default_factory=dict)
    results: dict[int, tuple[str, float]] = field(default_factory=dict)
    cycles: dict[tuple[str, int], float] = field(default_factory=dict)
    withdrawn_results: dict[int, str] = field(default_factory=dict)
    withdrawn_cycles: dict[tuple[str, int], float] = field(default_factory=dict)
    files: dict[str, str | None] = field(default_factory=dict)
    next_result: int = 1

    def of(self, subject: str) -> str:
        return self.states[subject][-1]

    def put(self, subject: str, state: str) -> None:
        if self.states[subject][-1] != state:
            self.states[subject].append(state)

    def news(self, trial: str, state: str) -> None:
        order = ["proposed", "issued", "mixing", "testing"]
        if self.of(trial) in order and order.index(self.of(trial)) < order.index(state):
            self.put(trial, state)

    def children(self, parent: str) -> list[str]:
        return [
            name for name in self.states if name.startswith(parent + "-") and name.count("-") == parent.count("-") + 1
        ]

    def next_child(self, parent: str, letter: str) -> str:
        for name in sorted(self.children(parent), key=lambda name: int(name.rsplit("-", 1)[1][1:])):
            if self.of(name) == "planned":
                return name
        return f"{parent}-{letter}{len(self.children(parent)) + 1}"


def possible(verb: str, kind: str, state: str) -> bool:
    """The rules in words a person would use."""
    opened = state in ("proposed", "issued", "mixing", "testing", "planned", "running", "mixed")
    if verb == "undo":
        return state not in ("proposed", "planned")
    if verb == "exclude":
        return state != "excluded"
    if verb == "fail":
        return opened or (kind == "trial" and state == "abandoned") or (kind == "cell" and state == "stopped")
    if verb == "complete":
        return (kind == "trial" and (opened or state in ("failed", "abandoned"))) or (
            kind == "cell" and (opened or state == "stopped")
        )
    if verb == "abandon":
        return kind == "trial" and opened
    if verb == "issue":
        return kind == "trial" and opened
    return kind == "cell" and verb == "stop" and state in ("planned", "running")


RESULT_OF = {
    "complete": "completed",
    "fail": "failed",
    "abandon": "abandoned",
    "exclude": "excluded",
    "stop": "stopped",
}


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = blank_ledger()
        self.model = Notebook()
        self.key, self.seq = 0, 2
        self.done: list[tuple[Any, Any]] = []
        self.pages: dict[int, Notebook] = {2: copy.deepcopy(self.model)}

    # -- one write: must do what the model says, or be refused and leave no trace --------------------------------------
    def write(self, act: Any, *, allowed: bool) -> Any:
        self.key += 1
        key = f"k{self.key}"
        if allowed:
            answer = act(key)
            self.seq += 1
            self.done.append((lambda: act(key), answer))
        else:
            answer = None
            with pytest.raises(Refusal):
                act(key)
            assert self.ledger.seq == self.seq
        return answer

    def turn_page(self) -> None:
        self.pages[self.seq] = copy.deepcopy(self.model)

    def subject(self, pick: int) -> str:
        return sorted(self.model.states)[pick % len(self.model.states)]

    # -- rules -----------------------------------------------------------------------------------------------------------
    @rule(count=st.integers(1, 3), behind=st.booleans())
    def propose(self, count: int, behind: bool) -> None:
        trials = [name for name in self.model.states if "-" not in name]
        seen = len(trials) - (1 if behind else 0)

        def act(key: str) -> Any:
            return self.ledger.propose(
                "c", some_designs(count), DECISION, evaluator="lab", trials_seen=seen, key=key, **WHO
            )

        ids = self.write(act, allowed=not behind)
        if ids is not None:
            assert ids == [f"T{len(trials) + i:04d}" for i in range(1, count + 1)]
            self.model.states.update({name: ["proposed"] for name in ids})
            self.turn_page()

    @rule(value=VALUES)
    def history_comes_in(self, value: float) -> None:
        number = len([name for name in self.model.states if "-" not in name]) + 1

        def act(key: str) -> Any:
            table = published_result(value)
            return self.ledger.add_trials("c", some_designs(1), evaluator="published", results=table, key=key, **WHO)

        (name,) = self.write(act, allowed=True)
        assert name == f"T{number:04d}"
        self.model.states[name] = ["completed"]
        self.model.results[self.model.next_result] = (name, value)
        self.model.next_result += 1
        self.turn_page()

    @precondition(lambda self: self.model.states)
    @rule(pick=PICK, verb=VERBS)
    def lab_news(self, pick: int, verb: str) -> None:
        name, model = self.subject(pick), self.model
        kind = ("trial", "mix", "cell")[name.count("-")]
        if verb == "mixed":
            self.mixed(name, kind)
        elif verb == "start":
            self.start(name, kind)
        elif self.move(name, verb, allowed=possible(verb, kind, model.of(name))):
            if verb == "undo":
                model.states[name].pop()
            elif verb == "issue":
                model.news(name, "issued")
            else:
                model.put(name, RESULT_OF[verb])
            self.turn_page()

    def move(self, name: str, verb: str, *, allowed: bool) -> bool:
        if verb == "undo" and len(self.model.states[name]) < 2:
            allowed = False

        def act(key: str) -> Any:
            if verb == "issue":
                return self.ledger.issue([name], key=key, **WHO)
            return getattr(self.ledger, verb)(name, key=key, why="because", **WHO)

        self.write(act, allowed=allowed)
        return allowed

    def mixed(self, name: str, kind: str) -> None:
        model = self.model
        target = model.next_child(name, "M") if kind == "trial" else name
        allowed = kind != "cell"
        if self.write(lambda key: self.ledger.mixed(name, key=key, **WHO), allowed=allowed) is not None:
            model.states.setdefault(target, ["planned"])
            if model.of(target) == "planned":
                model.put(target, "mixed")
            model.news(target.split("-")[0], "mixing")
            self.turn_page()

    def start(self, name: str, kind: str) -> None:
        model = self.model
        mix = name + "-M1" if kind == "trial" else name.rsplit("-C", 1)[0]
        target = name if kind == "cell" else model.next_child(mix, "C")
        allowed = kind != "cell" or model.of(name) == "planned"
        if self.write(lambda key: self.ledger.start(name, key=key, channel="1", **WHO), allowed=allowed) is not None:
            model.states.setdefault(mix, ["planned"])
            model.states.setdefault(target, ["planned"])
            if model.of(mix) == "planned":
                model.put(mix, "mixed")  # the trial itself moves once, to testing: one act, one undo
            model.put(target, "running")
            model.news(target.split("-")[0], "testing")
            self.turn_page()

    @precondition(lambda self: self.model.states)
    @rule(pick=PICK, value=VALUES, first=st.integers(1, 4), count=st.integers(0, 3), number=VALUES)
    def results_arrive(self, pick: int, value: float, first: int, count: int, number: float) -> None:
        name, model = self.subject(pick), self.model
        table = cycles(name, [number] * count, first=first)
        standing = {(name, cycle): number for cycle in range(first, first + count)}
        known = {**model.withdrawn_cycles, **model.cycles}  # what was withdrawn stays so when its file comes again
        allowed = all(known.get(place, number) == number for place in standing)
        before = model.next_result

        def act(key: str) -> Any:
            return self.ledger.record(results=scalar(name, value), cycling=table, key=key, **WHO)

        answer = self.write(act, allowed=allowed)
        if answer is not None:
            assert answer == {"results": [before], "cycles": len(set(standing) - set(known))}
            model.results[before] = (name, value)
            model.next_result += 1
            model.cycles.update({place: value for place, value in standing.items() if place not in known})
            self.turn_page()

    @precondition(lambda self: self.model.next_result > 1)
    @rule(pick=PICK, value=VALUES, withdraw=st.booleans())
    def a_result_is_corrected(self, pick: int, value: float, withdraw: bool) -> None:
        model = self.model
        old = pick % (model.next_result - 1) + 1
        change = None if withdraw else pd.DataFrame({"result": [old], "value": [value]})

        def act(key: str) -> Any:
            return self.ledger.amend(why="typo", results=change, withdraw=[old] if withdraw else [], key=key, **WHO)

        allowed = old in model.results or (old in model.withdrawn_results and not withdraw)
        if self.write(act, allowed=allowed) is not None:
            subject = model.results.pop(old)[0] if old in model.results else model.withdrawn_results.pop(old)
            if withdraw:
                model.withdrawn_results[model.next_result] = subject
            else:
                model.results[model.next_result] = (subject, value)
            model.next_result += 1
            self.turn_page()

    @precondition(lambda self: self.model.cycles)
    @rule(pick=PICK, value=VALUES, withdraw=st.booleans())
    def a_cycle_is_corrected(self, pick: int, value: float, withdraw: bool) -> None:
        name, cycle = sorted(self.model.cycles)[pick % len(self.model.cycles)]
        if not withdraw and self.model.cycles[name, cycle] == value:
            return
        row = cycles(name, [value], first=cycle)
        tables = {"withdraw_cycles": row[["subject", "cycle"]]} if withdraw else {"cycling": row}
        self.write(lambda key: self.ledger.amend(why="shunt", key=key, **tables, **WHO), allowed=True)
        if withdraw:
            self.model.withdrawn_cycles[name, cycle] = self.model.cycles.pop((name, cycle))
        else:
            self.model.cycles[name, cycle] = value
        self.turn_page()

    @rule(content=st.sampled_from("abc"), name=st.sampled_from(["x.csv", "y.csv"]))
    def a_file_comes_in(self, content: str, name: str) -> None:
        new = self.ledger.register_file("c", content * 64, name=name, size=3, **WHO)
        assert new == (content not in self.model.files)
        self.seq += new
        if new:
            self.model.files[content] = None
            self.turn_page()

    @precondition(lambda self: self.model.files and self.model.states)
    @rule(pick=PICK, content=st.sampled_from("abc"))
    def a_file_is_assigned(self, pick: int, content: str) -> None:
        name = self.subject(pick)
        allowed = content in self.model.files
        self.write(lambda key: self.ledger.assign_file("c", content * 64, name, key=key, **WHO), allowed=allowed)
        if allowed:
            self.model.files[content] = name
            self.turn_page()

    @precondition(lambda self: self.done)
    @rule(pick=PICK)
    def an_earlier_write_is_repeated(self, pick: int) -> None:
        again, answer = self.done[pick % len(self.done)]
        assert again() == answer
        assert self.ledger.seq == self.seq

    @precondition(lambda self: self.done)
    @rule()
    def a_key_is_reused_for_something_else(self) -> None:
        with pytest.raises(Refusal, match="a new write needs a new key"):
            self.ledger.record(results=scalar("T1", 77.0), key="taken", **WHO)

    @precondition(lambda self: len(self.pages) > 1)
    @rule(pick=PICK)
    def an_earlier_page_is_read(self, pick: int) -> None:
        if pick % 6:  # reading a page costs as much as ten writes
            return
        seq = sorted(self.pages)[pick % len(self.pages)]
        self.compare(self.ledger.as_of(seq), self.pages[seq])

    def compare(self, reader: Any, model: Notebook) -> None:
        tables = [reader.trials("c"), reader.mixes("c"), reader.cells("c")]
        assert {name: state for t in tables for name, state in t["state"].items()} == {
            name: states[-1] for name, states in model.states.items()
        }
        results = reader.results("c", with_excluded=True)
        assert (
            dict(zip(results["result"], zip(results["subject"], results["value"], strict=True), strict=True))
            == model.results
        )
        record = reader.cycling("c", with_excluded=True)
        places = zip(record["subject"], record["cycle"], strict=True)
        assert dict(zip(places, record["discharge_areal_capacity_mAh_cm2"], strict=True)) == model.cycles
        out = [name for name, states in model.states.items() if states[-1] == "excluded"]
        kept = {i for i, (s, _) in model.results.items() if not any((s + "-").startswith(o + "-") for o in out)}
        assert not out or set(reader.results("c")["result"]) == kept
        files = reader.files("c")
        assigned = {k[0]: None if pd.isna(v) else v for k, v in zip(files["sha256"], files["subject"], strict=True)}
        assert assigned == model.files

    def teardown(self) -> None:
        assert self.ledger.seq == self.seq
        self.compare(self.ledger, self.model)
        self.ledger.verify()


def stories(count: int, steps: int, *, seeded: int) -> None:
    seldom = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run = settings(
        max_examples=count,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate,),  # no shrinking: each step is a commit, and a story of 40 lines can be read
        suppress_health_check=seldom,
    )
    machine = type("LedgerMachine", (LedgerMachine,), {})
    run_state_machine_as_test(seed(seeded)(machine), settings=run)


@pytest.mark.parametrize("shard", range(4))
def test_125_stories_of_40_steps_agree_with_the_model(shard: int) -> None:
    stories(125, 40, seeded=shard)


@pytest.mark.soak
@pytest.mark.parametrize("shard", range(10))
def test_500_stories_of_60_steps_agree_with_the_model(shard: int) -> None:
    stories(500, 60, seeded=100 + shard)


def test_a_proposer_that_saw_too_few_trials_is_told_it_is_late(tmp_path: Any) -> None:
    ledger = new_ledger(tmp_path)
    ledger.put_campaign("c", {}, **WHO)
    ledger.propose("c", designs(2), DECISION, evaluator="lab", trials_seen=0, key="a", **WHO)
    with pytest.raises(Stale, match="has 2 trials, not the 0"):
        ledger.propose("c", designs(2), DECISION, evaluator="lab", trials_seen=0, key="b", **WHO)
    assert len(ledger.trials("c")) == 2
