"""The command line: results on stdout, one sentence on stderr for a refusal, exit codes as the design says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Write = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


def test_the_main_job_without_prefect_reads_well(run: Run, data_dir: Path, finished: Any) -> None:
    out, err = finished.out, finished.err
    assert "proposed 6, evaluated 6" in err
    assert finished.code == 0, err
    assert out.startswith("Recommended: ")
    assert "start-up" in err and "6/6" in err
    assert str(finished.folder / "data/reports/small/report.html") in out
    campaign = finished.copy_to(data_dir.parent)
    code, out, _ = run("run", campaign, "--no-prefect", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["recommendation"]["p05"] <= answer["recommendation"]["mean"]
    code, out, _ = run("status", campaign, "--json")
    assert {row["state"] for row in json.loads(out)["states"]} == {"completed"}
    code, out, _ = run("plot", campaign, "parity", "-o", data_dir / "p.svg")
    assert code == 0 and (pd.read_csv(data_dir / "p.csv")["what"] == "parity").sum() == 6
    code, out, _ = run("diagnostics", campaign)
    assert code == 0 and out.startswith("Each of the 6 simulated results was predicted from all others: ")
    code, out, _ = run("diagnostics", campaign, "--json")
    told = json.loads(out)
    assert code == 0 and told["prior"] is None and told["sentences"] == answer["diagnostics"]["sentences"]
    assert [row["evaluator"] for row in told["parity"]] == ["physics"] * 6
    assert {row["parameter"] for row in told["sensitivity"]} == {"speed_rpm", "time_h", "sse"}
    code, out, _ = run("sync", campaign)
    assert code == 0
    code, out, _ = run("report", campaign, "-o", data_dir / "r.html")
    assert code == 0 and (data_dir / "r.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["status", "nowhere.yaml"], 1, "there is no file nowhere.yaml"),
        (["rnu"], 2, "did you mean run"),
        (["simulate", "--speed-rpm", "5000"], 1, "speed_rpm is 5000"),
        (["simulate", "--sse", "LPSCI"], 1, "did you mean LPSCl"),
        (["simulate", "--speed-rpm", "fast"], 2, "not a valid float"),
        (["simulate", "--time-h", "nan"], 1, "not a finite number"),
        (["simulate", "--time-h", "-1"], 1, "negative"),
        (["facts", "--rows", "nowhere.csv"], 1, "there is no file nowhere.csv"),
        (["inspect", "nowhere.csv"], 1, "there is no file nowhere.csv"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, data_dir: Path, words: list[str], code: int, sentence: str) -> None:
    del data_dir
    got, out, err = run(*words)
    assert got == code
    assert sentence in err
    assert out == ""
    assert "Traceback" not in err


def test_a_faulty_campaign_writes_nothing(run: Run, write_campaign: Write, data_dir: Path) -> None:
    before = sorted(data_dir.rglob("*"))
    code, _, err = run("run", write_campaign(("low: 1000, high: 2000", "low: 2000, high: 1000")), "--no-prefect")
    assert code == 1
    assert "campaign.yaml, line 5" in err and "reversed" in err
    assert sorted(data_dir.rglob("*")) == before


def test_simulate_prints_the_contract(run: Run, data_dir: Path) -> None:
    del data_dir
    code, out, err = run("simulate", "--cycles", "20", "--draws", "20", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert set(document) == {"recipe", "protocol", "composite", "cycling", "outcome", "warnings"}
    assert [row["cycle"] for row in document["cycling"]] == list(range(1, 21))
    for key in ("surface_halide_to_P", "crystallite_size_um", "sse_pellet_conductivity_mS_cm"):
        assert key in document["composite"]
    for band in document["outcome"].values():
        assert band["p05"] is None or band["p05"] <= band["p95"]


def test_init_gives_a_campaign_that_proposes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXWRIGHT_DATA_DIR", raising=False)
    folder = tmp_path / "ourlab"
    code, out, _ = run("init", folder)
    assert code == 0 and str(folder / "campaign.yaml") in out
    code, _, err = run("init", folder)
    assert code == 1 and "exists already" in err
    code, out, err = run("propose", folder / "campaign.yaml", "-q", 2, "--sheet", folder / "next.xlsx", "--json")
    assert code == 0, err
    assert len(json.loads(out)) == 2
    assert (folder / "next.xlsx").exists() and (folder / "data/ledger.db").exists()


@pytest.mark.parametrize("words", [["--help"], ["status", "examples/lpscl_sulfur.yaml"], ["ingest", "--help"]])
def test_light_commands_do_not_wait_for_heavy_libraries(words: list[str], data_dir: Path) -> None:
    code = (
        "import sys; sys.argv = ['mixwright', *sys.argv[1:]]\n"
        "from flows.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'mlflow', 'prefect', 'botorch', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'heavy imports: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_doctor_says_what_is_there(run: Run, data_dir: Path) -> None:
    code, out, _ = run("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["torch"]["verdict"] == "ok"
    assert str(data_dir) in rows["data directory"]["found"]
