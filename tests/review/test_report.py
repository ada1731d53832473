"""The report: stands alone, begins with the answer, escapes what people type, never half-written."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from review_example import OBJECTIVE, example_view

import review.report
from review import Axis, CampaignView, Recommendation
from review.diagnosis import sentences
from review.report import render, write_report

HOSTILE = '<script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)>'


class Page(HTMLParser):
    """Collects tags, their attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def page(view: CampaignView) -> Page:
    return Page(render(view))


def test_nothing_is_fetched_and_nothing_runs(page: Page) -> None:
    addresses = [
        value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert len(addresses) == 6
    assert all(value.startswith("data:image/svg+xml;base64,") for value in addresses)
    assert not {"script", "iframe", "link", "object", "embed", "form"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_no_style_reaches_outside(view: CampaignView) -> None:
    assert "@import" not in render(view)
    assert "url(" not in render(view)


def test_the_recommendation_comes_first_in_plain_words(page: Page, view: CampaignView) -> None:
    assert view.recommendation is not None
    first = page.text.index("Mix at 1950 rpm")
    assert first < page.text.index("Process window") < page.text.index("Trials, best first")
    for note in view.recommendation.notes:
        assert note in page.text
    assert "362 to 418.5" in page.text


def test_every_trial_and_its_value_stand_in_the_table(page: Page, view: CampaignView) -> None:
    for trial_id, value in zip(view.trials["trial_id"], view.trials[OBJECTIVE], strict=True):
        assert re.search(rf"{trial_id} {value:.4g}0* ", page.text), trial_id


def test_labels_say_what_was_measured_and_what_was_simulated(page: Page) -> None:
    assert "physics, simulated" in page.text
    assert "published, measured" in page.text
    assert "none of them was measured" in page.text


def test_published_cells_show_just_what_was_measured(page: Page) -> None:
    assert "1 → 6.28, 35 → 7.85, 100 → 6.21" in page.text


def test_conditions_that_differ_are_told_in_one_column(view: CampaignView) -> None:
    published = view.published.assign(current_mA_cm2=[0.27, *[0.67] * 14], heat_C=[np.nan, 145.0, *[np.nan] * 13])
    text = Page(render(replace(view, published=published))).text
    assert "other conditions, where they differ" in text
    assert "current (mA cm⁻²) 0.27" in text
    assert "current (mA cm⁻²) 0.67" not in text


def test_it_says_how_far_the_model_deserves_belief(page: Page) -> None:
    for words in (
        "Each of the 24 simulated results was predicted from all others: 23 of 24 lay inside their 90 % interval",
        "(right intervals hold 19 to 24 nine times in ten)",
        "That is what right intervals would give.",
        "T003 contradicts the others",
        "hangs on speed (30 %, 60 %), then on net time (20 %, 45 %) and SSE (10 %, 20 %)",
        "Active wt% hardly matters.",
        "explain 55 % of the differences between recipes (73 % before any result)",
        "30 to 1 (9 to 1 before any result): the results have spoken for it.",
    ):
        assert words in page.text, words
    # One line of it stands beside the recommendation, for those who read no further.
    assert page.text.index("23 of 24 lay inside") < page.text.index("Process window")


@pytest.mark.parametrize(("n", "words"), [(0, "No result so far"), (2, "Only 2 measured results so far")])
def test_with_too_few_results_it_says_why_the_model_cannot_be_checked(view: CampaignView, n: int, words: str) -> None:
    few = replace(view.diagnosis, parity=view.diagnosis.parity.head(n).assign(evaluator="lab"), prior=None)
    page = Page(render(replace(view, diagnosis=few)))
    assert f"{words}: the model can be checked from 3 results on" in page.text
    assert page.tags.count("img") == 4


def test_intervals_that_are_too_narrow_are_called_so(view: CampaignView) -> None:
    strayed = view.diagnosis.parity.assign(z=2.0 * view.diagnosis.parity["z"] + 1.0, evaluator="lab", flagged=False)
    told = " ".join(sentences(replace(view.diagnosis, parity=strayed)))
    assert told.startswith("Each of the 24 measured results was predicted from all others")
    assert "The intervals are too narrow at 90 %" in told


def test_a_model_that_foretells_nothing_is_not_praised(view: CampaignView) -> None:
    parity = view.diagnosis.parity
    useless = parity.assign(predicted=parity["found"].to_numpy()[::-1], repeated=True)
    told = " ".join(sentences(replace(view.diagnosis, parity=useless)))
    assert "foretold worse than by their own mean" in told
    assert "As little of the results is foretold so far, this may still change." in told
    assert "24 of the results share their recipe with another" in told


def test_it_says_how_it_was_made(page: Page) -> None:
    for words in (
        "mixwright run examples/lpscl_sulfur.yaml",
        "sha256:9f2c1b7e",
        "/home/lab/mixwright-data/ledger.db",
        "torch 2.13.0",
    ):
        assert words in page.text


def test_hostile_names_are_escaped_everywhere() -> None:
    plain = example_view()
    trials = plain.trials.assign(reason=HOSTILE, sse=HOSTILE, carbon=HOSTILE)
    trials.loc[0, "trial_id"] = HOSTILE
    view = replace(
        plain,
        name=HOSTILE,
        trials=trials,
        cycling=plain.cycling.replace({"trial_id": {"T001": HOSTILE}}),
        published=plain.published.assign(source=HOSTILE, evaluator=HOSTILE),
        objective=replace(plain.objective, label=HOSTILE, unit=HOSTILE),
        space=(*plain.space[:3], Axis(name="sse", choices=(HOSTILE, "LPSCl"))),
        surface_at=HOSTILE,
        electrolytes=plain.electrolytes.assign(sse=[HOSTILE, *plain.electrolytes["sse"][1:]]),
        recommendation=Recommendation(
            recipe={"sse": HOSTILE}, mean=1, p05=0, p95=2, sentences=(HOSTILE,), notes=(HOSTILE,)
        ),
        diagnosis=replace(plain.diagnosis, parity=plain.diagnosis.parity.assign(trial_id=HOSTILE, evaluator=HOSTILE)),
        provenance=replace(plain.provenance, command=HOSTILE, versions={HOSTILE: HOSTILE}),
    )
    page = Page(render(view))
    assert "script" not in page.tags
    assert page.tags.count("img") == 6
    assert not [value for tag, name, value in page.attributes if name == "src" and not value.startswith("data:")]
    assert HOSTILE in page.text


def test_formulas_in_dollars_and_odd_letters_do_not_stop_the_drawing() -> None:
    plain = example_view()
    odd = "Li$_6$ \\frac{ 好 $"
    view = replace(
        plain,
        trials=plain.trials.assign(sse=odd),
        objective=replace(plain.objective, label=odd, unit=odd),
        electrolytes=plain.electrolytes.assign(sse=[odd, *plain.electrolytes["sse"][1:]]),
    )
    assert odd in Page(render(view)).text


def test_a_campaign_without_any_trial_has_a_report(view: CampaignView) -> None:
    bare = CampaignView(name="new", objective=view.objective, evaluator="lab", provenance=view.provenance)
    text = Page(render(bare)).text
    assert "No recommendation yet: no trial has a result." in text
    assert "No trial yet." in text


def test_a_lab_campaign_in_progress_shows_states_and_dashes(view: CampaignView) -> None:
    trials = view.trials.head(4).assign(evaluator="lab", state=["completed", "testing", "failed", "proposed"])
    trials.loc[1:, OBJECTIVE] = np.nan
    trials["predicted_mean"] = [300.0, np.nan, 250.0, 260.0]
    trials["finished_at"] = [trials["finished_at"][0], pd.NaT, pd.NaT, pd.NaT]
    text = Page(render(replace(view, evaluator="lab", trials=trials, recommendation=None))).text
    assert "1 completed, 1 testing, 1 failed, 1 proposed" in text
    assert "lab, measured" in text
    assert "T002 testing –" in text
    assert "the model has not been fitted" in text


def test_a_long_campaign_says_what_it_left_out(view: CampaignView) -> None:
    trials = pd.concat([view.trials] * 9, ignore_index=True)
    trials["trial_id"] = [f"T{i}" for i in range(len(trials))]
    assert "16 further rows are left out here" in Page(render(replace(view, trials=trials))).text


def test_the_same_view_gives_the_same_file(tmp_path: Path) -> None:
    one, two = (write_report(example_view(), tmp_path / f"{i}.html") for i in range(2))
    assert one.read_bytes() == two.read_bytes()


def test_a_failed_report_leaves_the_old_one(
    tmp_path: Path, view: CampaignView, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(review.report.Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(view, path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
