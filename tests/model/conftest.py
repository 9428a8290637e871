"""Adapters of every method, learned once, and what they sound like."""

from functools import cache

import pytest
from adapters import clip_of, quick_adapters


@pytest.fixture(scope="session")
def adapters(backbone, concept):
    return quick_adapters(backbone, concept)


@pytest.fixture(scope="session")
def learned(backbone, adapters):
    """The clip of an adapter by its name, and of the bare class noun by ""."""
    return cache(lambda name: clip_of(backbone, adapters[name]) if name else clip_of(backbone, None, "guitar"))
