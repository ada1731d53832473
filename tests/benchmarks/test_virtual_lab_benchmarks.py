"""The benchmarks on virtual labs: which stored run answers which question, and what is refused."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import _bench as bench  # noqa: E402

CAMPAIGN = (ROOT / "benchmarks" / "_campaign.yaml").read_text()


def copy(folder: Path, *changes: tuple[str, str]) -> str:
    """A campaign of the same file name in a folder of its own, with lines changed or put before the budget."""
    text = CAMPAIGN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    path = folder / "_campaign.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "change",
    [
        ("channels: 8", "channels: 9"),
        ("goal: max", "goal: min"),
        ("prior: physics", "prior: none"),
        ("budget:", "outcome_constraints:\n  - {outcome: mixing_time_h, at_most: 5}\nbudget:"),
        ("budget:", "fixed: {duty: 0.4}\nbudget:"),
    ],
)
def test_a_stored_run_is_no_answer_to_another_campaign_of_the_same_file_name(tmp_path: Path, change: tuple[str, str]):
    asked = bench.campaign_hash(copy(tmp_path / "a", change))
    assert asked != bench.campaign_hash(copy(tmp_path / "b"))


def test_a_stored_run_answers_a_campaign_with_another_name_title_and_budget(tmp_path: Path):
    other = copy(
        tmp_path, ("campaign: benchmark_sulfur", "campaign: other"), ("title: Sulfur", "title: S"), ("60", "40")
    )
    assert bench.campaign_hash(other) == bench.campaign_hash(str(bench.CAMPAIGN))


def test_the_runs_that_are_stored_on_the_calendar_are_found():
    traces = bench.Traces("lab_calendar", fresh=range(0), ours="")
    assert any(bench.campaign_hash(str(bench.CAMPAIGN)) in key for key in traces.known)
