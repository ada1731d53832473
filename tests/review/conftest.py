from __future__ import annotations

import pytest
from review_example import example_view

from review import CampaignView


@pytest.fixture(scope="session")
def view() -> CampaignView:
    return example_view()
