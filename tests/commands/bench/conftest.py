"""What is slow to make is made once: the public loop's front end, and the machine's peak."""

import pytest


@pytest.fixture(scope="session")
def front_end():
    from tmp_utils.commands.bench.public_loop import FrontEnd

    return FrontEnd()


@pytest.fixture
def quick_front_end(front_end, monkeypatch):
    """Let each new front end take its numbers from one that exists; making them takes half a second."""
    monkeypatch.setattr(type(front_end), "__init__", lambda self: vars(self).update(vars(front_end)))


@pytest.fixture
def quick_peak(monkeypatch):
    """Time products of small matrices."""
    from tmp_utils.commands.bench import flops

    monkeypatch.setitem(flops.SIDES, "cpu", (64,))
