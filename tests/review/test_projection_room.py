"""What the projection stands among: saved views, stores that do not answer, the library, settings and schema."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from projected import runs_of, small
from review_example import example_view

from campaign.errors import Refusal
from review import quiet, views
from review.projection import MLflowUnreachable, Projection, Synced

_OF_MLFLOW = (
    "mlflow.runName", "mlflow.user", "mlflow.source.name", "mlflow.parentRunId", "mlflow.note.content",
    "mixwright.key", "mixwright.digest", "mixwright.frame", "mixwright.steps",
)  # fmt: skip


# --- saved views


def test_saved_views_are_what_the_page_reads(uri: str) -> None:
    view = small()
    done = Projection(uri).sync(view)
    experiment = MlflowClient(uri).get_experiment(done.experiment_id)
    for key, name in views.NAMES.items():
        tag = json.loads(experiment.tags[f"mlflow.sharedViewState.{key}"])
        assert tag["name"] == name
        assert tag["state"].startswith("deflate;")
        assert views.unpack(experiment.tags[f"mlflow.sharedViewState.{key}"]) == views.states(view)[key]


def test_the_checked_in_views_are_those_that_the_code_writes() -> None:
    stored = json.loads((Path(__file__).parents[2] / "mlflow" / "views.json").read_text())
    assert stored == views.states(example_view())


def test_views_name_columns_that_exist(uri: str) -> None:
    view = small()
    done = Projection(uri).sync(view)
    run = runs_of(uri)["T001"]
    known = (
        {f"metrics.`{n}`" for n in run.data.metrics}
        | {f"params.`{n}`" for n in run.data.params}
        | {f"tags.`{n}`" for n in run.data.tags}
    )
    for state in views.states(view).values():
        assert set(state["selectedColumns"]) <= known
        found = MlflowClient(uri).search_runs(
            [done.experiment_id], state["searchFilter"], order_by=[f"{state['orderByKey']} DESC"]
        )
        assert len(found) == 5
        for chart in state.get("compareRunCharts", []):
            named = [*chart.get("selectedMetrics", []), *chart.get("selectedMetricKeys", [])]
            assert set(named) <= set(run.data.metrics)
            assert set(chart.get("selectedParams", [])) <= set(run.data.params)


def test_links_open_the_views_of_the_experiment() -> None:
    done = Synced(experiment_id="7", campaign_run_id="abc", written=0, kept=0, deleted=0)
    links = Projection("http://127.0.0.1:5000").links(done, base_url="http://127.0.0.1:5000/")
    assert [name for name, link in links.items() if "viewStateShareKey=mixwright-" in link] == list(
        views.NAMES.values()
    )
    assert links["Report"].startswith("http://127.0.0.1:5000/#/experiments/7/runs/abc/artifacts/report.html?")
    assert all("workflowType=machine_learning" in link for link in links.values())


# --- never blocks


@pytest.fixture
def answering() -> Iterator[Callable[[bytes | None], str]]:
    """Loopback servers that give every caller the same bytes; with None they accept and never answer."""
    open_sockets: list[socket.socket] = []

    def serve(answer: bytes | None) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        open_sockets.append(server)

        def loop() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                open_sockets.append(caller)
                if answer is not None:
                    caller.recv(65536)
                    caller.sendall(answer)
                    caller.close()

        threading.Thread(target=loop, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield serve
    for one in open_sockets:
        one.close()


def test_a_dead_server_costs_no_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(MLflowUnreachable, match="the ledger is complete, sync again later"):
        Projection(f"http://127.0.0.1:{port}").sync(small())
    assert time.monotonic() - started < 10, "by default MLflow tries for minutes"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"\x00\x01",
    ],
    ids=["hangs", "500", "429", "not json", "cut off", "not http"],
)
def test_a_broken_server_is_refused_within_seconds(
    answer: bytes | None, answering: Callable[[bytes | None], str]
) -> None:
    started = time.monotonic()
    with pytest.raises(MLflowUnreachable):
        Projection(answering(answer)).sync(small())
    assert time.monotonic() - started < 20, "by default MLflow tries for minutes"


def test_a_file_that_is_no_database_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("these are my lab notes, please keep them " * 50)
    started = time.monotonic()
    with pytest.raises(MLflowUnreachable, match="not a database"):
        Projection(f"sqlite:///{tmp_path / 'mlflow.db'}").sync(small())
    assert time.monotonic() - started < 20, "by default MLflow tries for minutes"
    assert (tmp_path / "mlflow.db").read_text().startswith("these are my lab notes")


def test_a_store_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(MLflowUnreachable):
        Projection(f"sqlite:///{tmp_path / 'taken' / 'mlflow.db'}").sync(small())


def test_another_kind_of_store_is_refused() -> None:
    with pytest.raises(Refusal, match="sqlite:///PATH or the http address"):
        Projection("file:///tmp/mlruns")


# --- the room


def test_importing_review_brings_in_neither_mlflow_nor_matplotlib() -> None:
    code = (
        "import sys, review, review.quiet, review.views, review.runs\n"
        "print([name for name in ('mlflow', 'matplotlib', 'jinja2') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_library_is_imported_not_our_folder() -> None:
    code = "import mlflow; print(mlflow.__version__)"
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.startswith("3.17")
    assert not list((root / "mlflow").rglob("*.py"))


def test_a_sync_is_silent(uri: str) -> None:
    code = (
        "import sys; sys.path[:0] = ['tests/review']\n"
        "from review_example import example_view\n"
        "from review.projection import Projection\n"
        f"Projection({uri!r}).sync(example_view(1))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert out.stdout == ""
    assert out.stderr == ""


def test_the_servers_settings_are_those_that_the_code_uses() -> None:
    text = (Path(__file__).parents[2] / "mlflow" / "server.yaml").read_text()
    stored = yaml.safe_load(text)
    assert stored["environment"] == quiet.settings()
    assert stored["arguments"]["host"] == "127.0.0.1"


def test_the_schema_names_what_is_written(uri: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("report")
    view = small()
    Projection(uri).sync(view, report=report)
    schema = yaml.safe_load((Path(__file__).parents[2] / "mlflow" / "schema.yaml").read_text())
    for kind, runs in (("trial_run", runs_of(uri)), ("campaign_run", runs_of(uri, kind="campaign"))):
        for part in ("metrics", "tags"):
            known = [name.strip() for names in schema[kind][part] for name in names.split(",")]
            patterns = [
                re.compile(re.sub("<[a-z]+>", ".+", re.escape(name).replace("\\<", "<").replace("\\>", ">")))
                for name in known
            ]
            for run in runs.values():
                for name in getattr(run.data, part):
                    if part == "tags" and name in ("kind", *_OF_MLFLOW):
                        continue
                    assert any(pattern.fullmatch(name) for pattern in patterns), (kind, part, name)
