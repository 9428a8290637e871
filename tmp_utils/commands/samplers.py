"""With how few denoising steps does a profile's backbone score as it does with 50? Measured once and published.

Conventions: `python -m tmp_utils samplers --profile pocket` generates the editability prompts of a few nouns with the
untrained backbone and each sampler, tests each for equivalence with 50-step DDIM (every row states its margin) and
writes `data/published/samplers-<profile>.csv`. This takes about ten minutes for the pocket profile on one core.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from tmp_utils.files import write_csv
from tmp_utils.findings.published import samplers_path
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.metrics.distances import frechet_audio_distance
from tmp_utils.metrics.equivalence import distance_equivalence, fewest_steps, paired_equivalence
from tmp_utils.metrics.similarity import similarity_matrix

NOUNS, PUBLISHED_STEPS, RESAMPLES = ("guitar", "drums"), (10, 15, 20, 25), 200
SD_SHARE, FAD_SHARE = 0.2, 0.05
PAPERS_SAMPLER = ("DDIM", 50)
SCHEDULERS = ("DPMSolverMultistep", "UniPCMultistep", "DDIM")


def measure_samplers(
    profile: str, nouns: Sequence[str] = NOUNS, steps: Sequence[int] = PUBLISHED_STEPS
) -> pd.DataFrame:
    """Compare every scheduler at every number of steps with 50-step DDIM.

    Parameters
    ----------
    nouns : each fills every editability prompt of the profile; n is their product.
    steps : numbers of denoising steps to try.

    Returns
    -------
    As `sampler_equivalence`, with the columns backbone (hash) and embedder.
    """
    from tmp_utils.inputs.concepts import are_stand_ins, list_concepts, load_clips, load_concept
    from tmp_utils.inputs.prompts import editability_prompts, fill
    from tmp_utils.metrics.embed import check_embedder, load_embedder
    from tmp_utils.model.backbone import load_backbone
    from tmp_utils.model.generate import clip_seed

    settings = load_profile(profile)
    check_embedder(settings.embedder)
    backbone, embedder = load_backbone(settings), load_embedder(settings.embedder)
    rendered = [name for name in list_concepts() if are_stand_ins([name])]  # the model was trained on rendered music
    training = [clip for name in rendered for clip in load_clips(load_concept(name), 5)]
    prompts = editability_prompts(settings.n_editability_prompts)
    filled = [(prompt.id, fill(prompt.template, noun)) for noun in nouns for prompt in prompts]
    seeds = [clip_seed(0, name + text, 0) for name, text in filled]
    candidates = [(scheduler, n) for n in steps for scheduler in SCHEDULERS]
    sampling = {"guidance_scale": settings.guidance_scale, "clip_s": settings.clip_s}
    texts = [text for _, text in filled]
    table = sampler_equivalence(backbone, embedder, texts, seeds, training, candidates, **sampling)
    return table.assign(backbone=backbone.hash[:12], embedder=embedder.name)


def sampler_equivalence(
    backbone,
    embedder,
    prompts: Sequence[str],
    seeds: Sequence[int],
    training: Sequence[np.ndarray],
    candidates: Sequence[tuple[str, int]],
    **sampling,
) -> pd.DataFrame:
    """Compare samplers with `PAPERS_SAMPLER`, the paper's, on CLAP-A, CLAP-T and FAD.

    Parameters
    ----------
    prompts, seeds : as many of each: what is generated and compared with, and from which noise.
    training : clips (n,) that CLAP-A and FAD compare with; FAD's bias shrinks with their number.
    candidates : (scheduler, steps) of each sampler.
    sampling : guidance_scale and clip_s, for `generate`.

    Returns
    -------
    scheduler, steps, metric, reference (its mean), difference, ci_low, ci_high, margin, n, equivalent; a row a
    candidate and metric.

    Raises
    ------
    ValueError : the backbone does not take one of the schedulers; nothing was generated.
    """
    from tmp_utils.model.generate import generate

    for scheduler, _ in [PAPERS_SAMPLER, *candidates]:
        backbone.choose_scheduler(scheduler)
    wanted, known = embedder.embed_prompts(list(prompts)), embedder.embed_clips(list(training))

    def embedded(scheduler: str, steps: int) -> np.ndarray:
        numbers = {"steps": steps, "scheduler": scheduler, "progress": False}
        return embedder.embed_clips(generate(backbone, list(prompts), list(seeds), **numbers, **sampling))

    ours = embedded(*PAPERS_SAMPLER)
    scores, fad = _scores(ours, known, wanted), frechet_audio_distance(known, ours).value
    margins = {name: SD_SHARE * float(np.std(values, ddof=1)) for name, values in scores.items()}
    rows = []
    for scheduler, steps in candidates:
        theirs = embedded(scheduler, steps)
        tests = {
            name: (float(scores[name].mean()), paired_equivalence(values, scores[name], margins[name]))
            for name, values in _scores(theirs, known, wanted).items()
        }
        tests["fad"] = (fad, distance_equivalence(known, theirs, ours, FAD_SHARE * fad, n_resamples=RESAMPLES))
        for metric, (mean, test) in tests.items():
            names = {"scheduler": scheduler, "steps": steps, "metric": metric, "reference": mean}
            rows.append({**names, **asdict(test), "equivalent": test.equivalent})
    return pd.DataFrame(rows)


def _scores(generated: np.ndarray, training: np.ndarray, wanted: np.ndarray) -> dict[str, np.ndarray]:
    """CLAP-A and CLAP-T (n,), a value a clip."""
    to_training = similarity_matrix(generated, training).mean(1)
    return {"clap_a": to_training, "clap_t": np.diag(similarity_matrix(generated, wanted)).copy()}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what only this command takes."""
    parser.add_argument(
        "--nouns", nargs="+", default=NOUNS, help=f"class nouns to generate (default: {' '.join(NOUNS)})"
    )
    parser.add_argument("--steps", nargs="+", type=int, default=PUBLISHED_STEPS, help="numbers of denoising steps")


def main(options: argparse.Namespace) -> None:
    """Measure a profile's samplers and publish the table."""
    table = measure_samplers(options.profile, options.nouns, options.steps)
    write_csv(samplers_path(options.profile), table)
    print(table.round(4).to_string(index=False))
    print(f"Fewest steps that are equivalent in everything: {fewest_steps(table)}")
    print(f"Written: {samplers_path(options.profile)}")
