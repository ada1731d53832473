"""The projection under `kill -9`: whatever is cut off, the next sync completes it, each trial once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from review_example import example_view

from review.projection import Projection

WRITE = """
import sys
sys.path[:0] = [{here!r}]
from review_example import example_view
from review.projection import Projection
projection = Projection({uri!r})
projection._client
print("ready", flush=True)
projection.sync(example_view(40))
"""


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1])
def test_killed_at_random_points_every_trial_is_there_once(tmp_path: Path, seed: int) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    draw = random.Random(seed)
    killed_at_work = 0
    for _ in range(12):
        code = WRITE.format(here=str(Path(__file__).parent), uri=uri)
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0.02, 0.8))
        killed_at_work += writer.poll() is None
        writer.kill()
        writer.wait()
        writer.stdout.close()
    assert killed_at_work > 0, "no kill came in time"
    done = Projection(uri).sync(example_view(40))
    runs = MlflowClient(uri).search_runs([done.experiment_id], "tags.kind = 'trial'")
    assert sorted(run.data.tags["trial"] for run in runs) == sorted(
        [*example_view(40).trials["trial_id"], *example_view(40).published["trial_id"]]
    )
    again = Projection(uri).sync(example_view(40))
    assert (again.written, again.kept, again.deleted) == (0, 55, 0)
