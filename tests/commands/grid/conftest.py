"""Where the grids of a test are."""

import pytest
from grid_stub import stub_place


@pytest.fixture
def place(tmp_path):
    return stub_place(tmp_path)
