"""The saved views as a scientist meets them: a real MLflow server, a real browser.

The views are no public interface of MLflow; this is the test that would see them break.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from review_example import OBJECTIVE, example_view

from review import CampaignView, quiet
from review.projection import Projection
from review.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium browser on the PATH"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A server on loopback with one campaign in it: its address, and the links that are handed out."""
    folder = tmp_path_factory.mktemp("bench")
    view = example_view()
    projection = Projection(f"sqlite:///{folder / 'mlflow.db'}")
    synced = projection.sync(view, report=write_report(view, folder / "report.html"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
             "--backend-store-uri", projection.tracking_uri, "--default-artifact-root", str(folder / "mlartifacts")],
            env={**os.environ, **quiet.settings()}, stdout=log, stderr=log, cwd=folder, start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(f"{url}/health", process)
            yield url, projection.links(synced, base_url=url)
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the server did not answer within two minutes")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


def opened(browser: Any, address: str, outside: list[str]) -> Any:
    page = browser.new_page(viewport={"width": 2200, "height": 1400})
    local = ("http://127.0.0.1", "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(local) else outside.append(request.url))
    page.goto(address)
    return page


def test_the_table_shows_trials_best_first_with_their_recipes(
    server: tuple[str, dict[str, str]], browser: Any, view: CampaignView
) -> None:
    outside: list[str] = []
    page = opened(browser, server[1]["Trials, best first"], outside)
    page.get_by_text("39 matching runs").wait_for(timeout=60_000)
    best = view.trials.sort_values(OBJECTIVE, ascending=False).iloc[0]
    first = page.locator(".ag-center-cols-container .ag-row[row-index='0']")
    assert f"{best[OBJECTIVE]:.4g}" in first.inner_text()
    assert f"{best['speed_rpm']:g}" in first.inner_text()
    assert best["trial_id"] in page.locator(".ag-row[row-index='0']").first.inner_text()
    headings = page.locator(".ag-header").inner_text()
    for column in ("speed_rpm", "time_h", "active_wt_pct", "sse", "evaluator", "predicted_mean"):
        assert column in headings
    assert outside == []


@pytest.mark.parametrize(
    ("name", "section", "charts", "drawn"),
    [
        ("Recipes and predictions", "Recipes and predictions", 2, "Showing all runs"),
        ("Capacity against cycle", "Cycling, the best trials", 1, "cycling/discharge_areal_capacity_mAh_cm2"),
    ],
)
def test_charts_open_in_a_section_of_their_own_above_the_others(
    name: str, section: str, charts: int, drawn: str, server: tuple[str, dict[str, str]], browser: Any
) -> None:
    outside: list[str] = []
    page = opened(browser, server[1][name], outside)
    first = page.get_by_test_id("draggable-chart-cards-grid").first
    first.get_by_text(drawn).first.wait_for(timeout=60_000)
    first.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    heading = page.get_by_test_id("experiment-view-compare-runs-section-header").first.inner_text()
    assert heading.split("\n")[:2] == [section, f"({charts})"]
    assert first.get_by_test_id("experiment-view-compare-runs-card").count() == charts
    assert outside == []


def test_the_report_opens_inside_mlflow(server: tuple[str, dict[str, str]], browser: Any) -> None:
    outside: list[str] = []
    page = opened(browser, server[1]["Report"], outside)
    frame = page.frame_locator("iframe.mlflow-html-iframe")
    frame.get_by_text("Recommended recipe").wait_for(timeout=60_000)
    assert outside == []


def test_the_campaigns_run_says_the_recommendation(server: tuple[str, dict[str, str]], browser: Any) -> None:
    page = opened(browser, server[1]["Recommended recipe"], [])
    page.get_by_text("Mix at 1950 rpm for 4.75 h net").first.wait_for(timeout=60_000)
    assert "recommended_speed_rpm" in page.locator("body").inner_text()
