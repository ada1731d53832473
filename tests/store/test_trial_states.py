"""The table of state changes, and ids as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.errors import Refusal
from campaign.trial import (
    BEFORE,
    CELL_STATES,
    FIRST_STATE,
    MIX_STATES,
    TRANSITIONS,
    TRIAL_STATES,
    SubjectId,
    check_evaluator,
    next_state,
    read_id,
    standing_states,
)

STATES = {"trial": TRIAL_STATES, "mix": MIX_STATES, "cell": CELL_STATES}
PROGRESS = {state: rank for rank, state in enumerate(("proposed", "issued", "mixing", "testing"))}


@pytest.mark.parametrize("kind", STATES)
def test_every_state_is_reached_and_can_be_left(kind: str) -> None:
    reached = {FIRST_STATE[kind]}
    while True:
        more = {target for changes in TRANSITIONS[kind].values() for old, target in changes.items() if old in reached}
        if more - {BEFORE} <= reached:
            break
        reached |= more - {BEFORE}
    assert reached == set(STATES[kind])
    for state in STATES[kind]:
        assert any(state in changes for changes in TRANSITIONS[kind].values())


def test_the_path_of_a_trial_in_the_lab() -> None:
    state = "proposed"
    seen = [state := next_state("trial", state, verb, name="T0001") for verb in ("issue", "mix", "start", "complete")]
    assert seen == ["issued", "mixing", "testing", "completed"]


@given(st.permutations(["issue", "mix", "mix", "start", "start"]))
def test_news_of_the_lab_in_any_order_ends_alike_and_never_moves_back(verbs: list[str]) -> None:
    state, ranks = "proposed", [0]
    for verb in verbs:
        state = next_state("trial", state, verb, name="T0001")
        ranks.append(PROGRESS[state])
    assert state == "testing"
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("end", ["completed", "failed", "abandoned", "excluded"])
def test_late_news_never_reopens_an_ended_trial(end: str) -> None:
    assert next_state("trial", end, "mix", name="T1") == next_state("trial", end, "start", name="T1") == end


@pytest.mark.parametrize(
    ("kind", "state", "verb"),
    [
        ("trial", "completed", "issue"),
        ("trial", "completed", "complete"),
        ("trial", "completed", "fail"),
        ("trial", "completed", "abandon"),
        ("trial", "failed", "abandon"),
        ("trial", "excluded", "exclude"),
        ("trial", "excluded", "complete"),
        ("trial", "proposed", "undo"),
        ("trial", "proposed", "stop"),
        ("mix", "mixed", "start"),
        ("mix", "failed", "fail"),
        ("cell", "running", "start"),
        ("cell", "stopped", "start"),
        ("cell", "completed", "stop"),
        ("cell", "failed", "complete"),
        ("cell", "excluded", "start"),
        ("cell", "planned", "abandon"),
    ],
)
def test_what_contradicts_the_record_is_refused_with_what_is_possible(kind: str, state: str, verb: str) -> None:
    with pytest.raises(Refusal, match=f"T0001: cannot {verb} a {kind} that is {state}; possible now: "):
        next_state(kind, state, verb, name="T0001")


def test_a_completed_trial_can_only_be_excluded_undone_or_hear_late_news() -> None:
    possible = {verb for verb, changes in TRANSITIONS["trial"].items() if "completed" in changes}
    assert possible == {"mix", "start", "exclude", "undo"}


def test_undo_goes_back_step_by_step_and_not_in_circles() -> None:
    story = [("propose", "proposed"), ("start", "testing"), ("fail", "failed"), ("complete", "completed")]
    assert standing_states(story)[-1] == "completed"
    assert standing_states([*story, ("undo", "failed")])[-1] == "failed"
    assert standing_states([*story, ("undo", "failed"), ("undo", "testing")]) == ["proposed", "testing"]


@given(st.integers(1, 10**6), st.integers(0, 500), st.integers(0, 50))
def test_ids_are_read_as_they_are_written(trial: int, mix: int, cell: int) -> None:
    subject = SubjectId(trial, mix, cell if mix else 0)
    text = str(subject)
    assert read_id(text) == subject
    assert read_id(f" {text.lower().replace('-', '')} ") == subject
    assert text.startswith(subject.trial) and subject.mix.startswith(subject.trial)


def test_ids_have_the_lengths_people_know() -> None:
    assert str(SubjectId(7, 1, 1)) == "T0007-M1-C1"
    assert [SubjectId(7).kind, SubjectId(7, 1).kind, SubjectId(7, 1, 2).kind] == ["trial", "mix", "cell"]
    assert str(read_id("t12345-m2")) == "T12345-M2"


@pytest.mark.parametrize(
    "text", ["", "7", "T", "T0", "T7-C1", "T7-M0", "T7-M1-C0", "T7 M1", "T7-M1-C1-X", "T٣x", "../T7"]
)
def test_what_is_no_id_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refusal, match="they read like T0007"):
        read_id(text)


def test_evaluators_are_known_by_name() -> None:
    assert check_evaluator("lab") == "lab"
    with pytest.raises(Refusal, match="did you mean physics"):
        check_evaluator("Physic")
