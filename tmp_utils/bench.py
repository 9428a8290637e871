"""How long the study's steps take on this machine.

Conventions: `python -m tmp_utils.bench --profile pocket`. Wall-clock seconds, the median of repeats after one
that is not counted. A training step is the difference of a longer and a shorter training, so that what is
computed once does not count. The result goes to `<runs_dir>/bench-<profile>.json`.

bench : time everything and return one row a step.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from tmp_utils.files import slug, write_json
from tmp_utils.provenance import provenance
from tmp_utils.runs import resolve_runs_dir

CONCEPT = "sitar"
PROMPT = "a recording of a sitar"
REPEATS = 3
SHORT_STEPS, LONG_STEPS = 2, 8


def median_s(action: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the median seconds of `action`, after one call that is not counted."""
    action()
    return statistics.median(_seconds(action) for _ in range(repeats))


def bench(profile_name: str) -> Iterator[tuple[str, float]]:
    """Yield (what, seconds) for the steps of a profile's study, each as soon as it is known."""
    import torch

    from tmp_utils import audio, backbone, concepts, embed, profiles

    profile = profiles.load_profile(profile_name)
    concept = concepts.load_concept(CONCEPT)
    clips = concepts.load_clips(concept)
    yield "read a concept's clips", median_s(lambda: concepts.load_clips(concept))
    sound = torch.from_numpy(clips[0])
    yield "log-mel of a clip", median_s(lambda: audio.log_mel(sound))
    yield "load the backbone", median_s(lambda: backbone.load_backbone(profile), repeats=1)
    model = backbone.load_backbone(profile)
    yield "VAE moments of a clip", median_s(lambda: model.moments(clips[:1]))
    for method in ("TI", "DB"):
        yield f"training step, {method}", _training_step_s(model, concept, method, profile)
    yield "generate a clip (of 4 at once)", median_s(lambda: _four_clips(model, profile), repeats=1) / 4
    embedder = embed.load_embedder(profile.embedder)
    yield "embed a clip", median_s(lambda: embedder.embed_clips(clips[:1]))


def _four_clips(model, profile) -> list:
    from tmp_utils import generate

    return generate.generate(
        model,
        [PROMPT] * 4,
        [0, 1, 2, 3],
        steps=profile.inference_steps,
        guidance_scale=profile.guidance_scale,
        clip_s=profile.clip_s,
        batch_size=4,
        progress=False,
    )


def _training_step_s(model, concept, method: str, profile) -> float:
    from tmp_utils import personalize, profiles

    setup = profiles.load_setup(method, "BL")

    def train(steps: int) -> float:
        methods = {**profile.methods, method: {**profile.method(method), "steps": steps}}
        short = dataclasses.replace(profile, methods=methods)
        return _seconds(lambda: personalize.personalise(model, concept, setup, 0, profile=short, progress=False))

    train(SHORT_STEPS)
    return (train(LONG_STEPS) - train(SHORT_STEPS)) / (LONG_STEPS - SHORT_STEPS)


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Print a line a step and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tmp_utils.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="pocket")
    parser.add_argument("--runs-dir", default="runs")
    options = parser.parse_args()
    rows = {}
    for what, seconds in bench(options.profile):
        rows[what] = round(seconds, 5)
        print(f"{what:32s} {seconds:10.4f} s", flush=True)
    folder = resolve_runs_dir(options.runs_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bench-{slug(options.profile)}.json"
    print(write_json(path, {"profile": options.profile, "seconds": rows, **provenance()}))


if __name__ == "__main__":
    main()
