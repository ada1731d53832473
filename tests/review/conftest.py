from __future__ import annotations

import os

import pytest
from review_example import example_view

from review import CampaignView, quiet

# Before any test module imports mlflow, which reads some of these when it is imported.
os.environ.update(quiet.settings())


@pytest.fixture(scope="session")
def view() -> CampaignView:
    return example_view()
