"""With how few denoising steps does a profile's backbone score as it does with 50? Measured once and published.

Conventions: `python -m tmp_utils.samplers --profile pocket` asks the untrained backbone for the editability prompts of
a few nouns with every candidate sampler, holds each against 50-step DDIM by `equivalence` (margins are stated in every
row) and writes `data/published/samplers-<profile>.csv`. About ten minutes for the pocket profile on one core.

measure_samplers : profile + nouns -> the table of equivalences, with the backbone and embedder they hold for.
read_samplers    : the published table of a profile, or None.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tmp_utils.equivalence import SCHEDULERS, fewest_steps, sampler_equivalence
from tmp_utils.files import write_csv
from tmp_utils.profiles import DATA_DIR, load_profile

NOUNS, STEPS, RESAMPLES = ("guitar", "drums"), (10, 15, 20, 25), 200


def published_path(profile: str) -> Path:
    """Return where a profile's table lies."""
    return DATA_DIR / "published" / f"samplers-{profile}.csv"


def read_samplers(profile: str) -> pd.DataFrame | None:
    """Return a profile's published table, or None if it was not measured."""
    path = published_path(profile)
    return pd.read_csv(path) if path.exists() else None


def measure_samplers(profile: str, nouns: Sequence[str] = NOUNS, steps: Sequence[int] = STEPS) -> pd.DataFrame:
    """Hold every scheduler at every number of steps against 50-step DDIM.

    Parameters
    ----------
    nouns : each is asked for in every editability prompt of the profile; n is their product.
    steps : numbers of denoising steps to try.

    Returns
    -------
    As `equivalence.sampler_equivalence`, with the columns backbone (hash) and embedder.
    """
    from tmp_utils.backbone import load_backbone
    from tmp_utils.concepts import list_concepts, load_clips, load_concept
    from tmp_utils.embed import load_embedder
    from tmp_utils.generate import clip_seed
    from tmp_utils.prompts import editability_prompts, fill

    settings = load_profile(profile)
    backbone, embedder = load_backbone(settings), load_embedder(settings.embedder)
    training = [clip for name in list_concepts() for clip in load_clips(load_concept(name), 5)]
    prompts = editability_prompts(settings.n_editability_prompts)
    asked = [(prompt.id, fill(prompt.template, noun)) for noun in nouns for prompt in prompts]
    texts = [text for _, text in asked]
    table = sampler_equivalence(
        backbone,
        embedder,
        texts,
        texts,
        [clip_seed(0, name + text, 0) for name, text in asked],
        training,
        candidates=[(scheduler, n) for n in steps for scheduler in SCHEDULERS],
        n_resamples=RESAMPLES,
        progress=False,
        guidance_scale=settings.guidance_scale,
        clip_s=settings.clip_s,
    )
    return table.assign(backbone=backbone.hash[:12], embedder=embedder.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a profile's samplers and publish the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tmp_utils.samplers", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="pocket", help="pocket (default) or paper")
    parser.add_argument("--nouns", nargs="+", default=NOUNS, help="what the prompts are asked for")
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS, help="numbers of denoising steps")
    options = parser.parse_args(arguments)
    try:
        table = measure_samplers(options.profile, options.nouns, options.steps)
        write_csv(published_path(options.profile), table)
    except (ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(table.round(4).to_string(index=False))
    print(f"Fewest steps that are equivalent in everything: {fewest_steps(table)}")
    print(f"Written: {published_path(options.profile)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
