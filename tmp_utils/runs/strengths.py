"""What an adapter does at other strengths than it learned, and beside another one.

Conventions: strengths are those of `generate`: 0 is the class noun without the adapter, 1 what was learned. Clips of
all strengths, and of all rows of a table, start from the same noise. Scores are cosines by the study's embedder.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tmp_utils.inputs.concepts import Concept, load_clips
from tmp_utils.inputs.prompts import fill, reconstruction_prompt
from tmp_utils.metrics.similarity import clap_audio_similarity
from tmp_utils.model.combination import combine
from tmp_utils.model.generate import clip_seed
from tmp_utils.personalize import Adapter
from tmp_utils.runs.overfitting import measure_adapter
from tmp_utils.runs.protocol import Lab

STRENGTHS = (0.0, 0.5, 1.0, 1.5)
PATH_CLIPS, PATH_PROMPTS = 2, 2  # of a strength: clips for CLAP-A, prompts for CLAP-T; together a full batch
PAIR_CLIPS = 2
TOGETHER = "{} over a {}"


def strength_path(
    lab: Lab, concept: Concept, adapter: Adapter, seed: int, strengths: Sequence[float] = STRENGTHS
) -> pd.DataFrame:
    """Measure an adapter at several strengths.

    Returns
    -------
    strength, metric ("clap_a", "clap_t"), value, ci_low, ci_high, n, embedder.
    """
    sizes = {"n_clips": PATH_CLIPS, "n_prompts": PATH_PROMPTS}
    return pd.DataFrame(
        {"strength": strength} | row
        for strength in strengths
        for row in measure_adapter(lab, concept, adapter, seed, strength=strength, **sizes)
    )


def two_concepts(
    lab: Lab, concepts: Sequence[Concept], adapters: Sequence[Adapter], seed: int
) -> tuple[pd.DataFrame, Mapping[str, list[np.ndarray]]]:
    """Generate with two adapters, alone and together, and compare with the clips of both concepts.

    Parameters
    ----------
    concepts, adapters : two of each, in the same order; `combine` says which adapters can be used together.

    Returns
    -------
    table : index: what was asked for; a column "CLAP-A to <concept>" for each of the two, and clips.
    clips : of each row, float32 (n,) each.
    """
    both, template = combine(*adapters), reconstruction_prompt().template
    words = [adapter.phrase(concept) for adapter, concept in zip(adapters, concepts, strict=True)]
    sets = dict(zip(words, adapters, strict=True)) | {TOGETHER.format(*words): both}
    references = {concept.name: lab.embedder.embed_clips(load_clips(concept)) for concept in concepts}
    rows, clips = {}, {}
    for text, adapter in sets.items():
        prompts, seeds = [fill(template, text)] * PAIR_CLIPS, [clip_seed(seed, "pair", k) for k in range(PAIR_CLIPS)]
        clips[text] = lab.generate(prompts, seeds, adapter, batch_size=PAIR_CLIPS)
        embedded = lab.embedder.embed_clips(clips[text])
        near = {name: clap_audio_similarity(embedded, reference) for name, reference in references.items()}
        rows[text] = {f"CLAP-A to {name}": value for name, value in near.items()} | {"clips": PAIR_CLIPS}
    return pd.DataFrame(rows).T.astype({"clips": int}), clips
