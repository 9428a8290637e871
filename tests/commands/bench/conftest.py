"""What is slow to make is made once: the public loop's front end, and the machine's peak."""

import numpy as np
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


@pytest.fixture
def ear():
    """An embedder whose answers can be worked out by hand, and that counts its calls for clips."""

    class Ear:
        calls = 0

        def embed_clips(self, clips):
            self.calls += 1
            rows = np.stack([[clip.mean(), clip.std(), np.abs(np.diff(clip)).mean()] for clip in clips])
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

        def embed_prompts(self, prompts):
            rows = np.array([[len(prompt), 1.0, 2.0] for prompt in prompts])
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return Ear()
