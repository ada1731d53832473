"""A campaign file is read whole or refused with one sentence that points at the line."""

import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaign.errors import Refusal
from campaign.spec import load_spec

GOOD = """\
campaign: trial_run
evaluator: physics
seed: 3
space:
  speed_rpm: {low: 400, high: 2000, step: 25}
  time_h: {low: 0.5, high: 12}
  sse: [LPSCl, LGPS]
fixed:
  active: S
protocol:
  current_mA_cm2: 0.67
objectives:
  - {outcome: discharge_capacity_cycle_100_mAh_g_composite, goal: max}
budget: {trials: 8, batch: 2}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "campaign.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, GOOD)).spec
    assert spec.space["sse"] == ("LPSCl", "LGPS")
    assert spec.budget.batch == 2
    assert spec.conditions()["carbon"] == "KB+C45"


@pytest.mark.parametrize("name", ["lpscl_sulfur.yaml", "lpscl_sulfur_lab.yaml"])
def test_the_examples_are_read(name: str) -> None:
    load_spec(Path("examples") / name)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("seed: 3", "sead: 3", 3, "'sead' is unknown.*seed"),
        ("low: 400, high: 2000", "low: 2000, high: 400", 5, "reversed"),
        ("[LPSCl, LGPS]", "[LPSCl, LPSCI]", 7, "nobody defined.*LPSCl"),
        ("low: 0.5", "low: .nan", 6, "number"),
        ("low: 0.5", "low: -0.5", 6, "greater than or equal to 0"),
        ("active: S", "active: Sulphur", 9, "nobody defined the active"),
        ("active: S", "activ: S", 9, "unknown in fixed.*active"),
        ("current_mA_cm2: 0.67", "current_mA_cm2: minus one", 11, "number"),
        ("discharge_capacity_cycle_100_mAh_g_composite", "capacity", 13, "nobody defined the outcome"),
        ("goal: max", "goal: biggest", 13, "'max' or 'min'"),
        ("trials: 8", "trials: 0", 14, "greater than or equal to 1"),
        ("evaluator: physics", "evaluator: physics\nprior: physics", 1, "told its own answer"),
        ("speed_rpm:", "speed:", 5, "cannot be varied.*speed_rpm"),
        ("[LPSCl, LGPS]", "{low: 1, high: 2}", 7, "list of names"),
        ("seed: 3", "seed: 3\nseed: 4", 4, "stands twice"),
        ("seed: 3", "seed: 3\nspace2: &a [1]\nspace3: *a", 5, "aliases"),
        ("seed: 3", "seed: [3", 4, "not YAML"),
        ("budget:", "risk: {speed_rpm: a lot}\nbudget:", 14, "'a lot' must read as 0.5.*or as 2%"),
        ("budget:", "risk: {speed_rpm: -2}\nbudget:", 14, "must read as 0.5"),
        ("budget:", "risk: {sse: 2%}\nbudget:", 14, "sse is a choice among names.*speed_rpm, time_h"),
        ("budget:", "risk: {active_wt_pct: 0.5}\nbudget:", 14, "active_wt_pct is not varied in space"),
    ],
)
def test_a_fault_is_one_sentence_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(Refusal) as refused:
        load_spec(path)
    sentence = str(refused.value)
    assert re.search(words, sentence), sentence
    assert f"line {line}" in sentence, sentence
    assert "\n" not in sentence


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="'evaluator' is missing"):
        load_spec(write(tmp_path, GOOD.replace("evaluator: physics\n", "")))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "a: b: c", "\x00\x01"])
def test_what_is_no_campaign_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Refusal):
        load_spec(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="there is no file"):
        load_spec(tmp_path / "nowhere.yaml")


def test_deep_nesting_does_not_crash(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        load_spec(write(tmp_path, "a: " + "[" * 5000))


@given(st.text(max_size=200))
def test_no_text_ever_gives_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("spec") / "c.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(Refusal):
        load_spec(path)


def test_the_same_meaning_has_the_same_hash(tmp_path: Path) -> None:
    first = load_spec(write(tmp_path, GOOD)).spec.sha256()
    second = load_spec(write(tmp_path, "# a comment\n" + GOOD)).spec.sha256()
    third = load_spec(write(tmp_path, GOOD.replace("seed: 3", "seed: 4"))).spec.sha256()
    assert first == second != third
