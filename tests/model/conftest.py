"""Adapters of every method, learned once."""

import pytest
from adapters import quick_adapters


@pytest.fixture(scope="session")
def adapters(backbone, concept):
    return quick_adapters(backbone, concept)
