"""From the clips and masks of a mixture's words to the rows of `runs.mixtures`.

Conventions: clips are mono at 16 kHz, by sound and prompt id; a row has sound, metric, value, n and embedder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from tmp_utils.inputs.audio import log_mel
from tmp_utils.inputs.masks import shares
from tmp_utils.inputs.mixtures import Mixture
from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt
from tmp_utils.metrics.embed import Embedder
from tmp_utils.metrics.separation import both_scores, mask_scores, word_scores
from tmp_utils.metrics.similarity import audio_ceiling, clap_text_similarity
from tmp_utils.runs.lab import Lab

ALL = "all"  # the sound of rows about the prompt of all words


def word_rows(lab: Lab, mixture: Mixture, clips: Mapping[str, Mapping[str, list]]) -> list[dict]:
    """Return closeness, leakage and difference of each sound's clips, by sound and prompt, and both of all words'."""
    rows, own_prompt = [], reconstruction_prompt().id
    for embedder in _embedders(lab):
        parts = [embedder.embed_clips(part) for part in mixture.parts]
        for i, noun in enumerate(mixture.class_nouns):
            generated = embedder.embed_clips(clips[noun][own_prompt])
            scores = word_scores(generated, parts, i)
            rows += [_row(noun, metric, value, len(generated), embedder.name) for metric, value in scores.items()]
        of_all = embedder.embed_clips(clips[ALL][own_prompt])
        rows.append(_row(ALL, "both", both_scores(of_all, parts), len(of_all), embedder.name))
    return rows


def text_rows(embedder: Embedder, mixture: Mixture, clips: Mapping[str, Mapping[str, list]]) -> list[dict]:
    """Return clap_t of each sound's editability clips; no rows where there are none."""
    rows, edits = [], {prompt.id: prompt for prompt in editability_prompts()}
    for noun in mixture.class_nouns:
        made = [(fill(edits[id].template, noun), clip) for id, of in clips[noun].items() if id in edits for clip in of]
        if made:
            texts, of_noun = zip(*made, strict=True)
            value = clap_text_similarity(embedder.embed_clips(of_noun), embedder.embed_prompts(texts))
            rows.append(_row(noun, "clap_t", value, len(made), embedder.name))
    return rows


def reference_rows(lab: Lab, mixture: Mixture, of_stems: bool) -> list[dict]:
    """Return what the stems score, with the ideal masks; or else the mixture itself, with no separation."""
    ideal = ideal_masks(mixture)
    rows = separation_rows(mixture, ideal if of_stems else [torch.ones_like(mask) for mask in ideal])
    for embedder in _embedders(lab):
        parts = [embedder.embed_clips(part) for part in mixture.parts]
        whole = embedder.embed_clips(mixture.clips)
        for i, noun in enumerate(mixture.class_nouns):
            scores = word_scores(parts[i] if of_stems else whole, parts, i)
            if of_stems:  # not each clip with itself
                scores["closeness"] = audio_ceiling(parts[i])
                scores["difference"] = scores["closeness"] - scores["leakage"]
            rows += [_row(noun, metric, value, len(mixture.clips), embedder.name) for metric, value in scores.items()]
        if not of_stems:
            rows.append(_row(ALL, "both", both_scores(whole, parts), len(whole), embedder.name))
    return rows


def separation_rows(mixture: Mixture, masks: Sequence[torch.Tensor]) -> list[dict]:
    """Return si_sdr and mel_l1 of masks (k, frames, 64), one of each clip: a row a sound, the mean over clips."""
    by_clip = [mask_scores(*clip) for clip in zip(mixture.clips, masks, zip(*mixture.parts, strict=True), strict=True)]
    return [
        _row(noun, metric, np.mean([scores[metric][i] for scores in by_clip]), len(by_clip))
        for metric in ("si_sdr", "mel_l1")
        for i, noun in enumerate(mixture.class_nouns)
    ]


def ideal_masks(mixture: Mixture) -> list[torch.Tensor]:
    """Masks (k, frames, 64) of each clip: the stems' shares."""
    return [shares(log_mel(torch.from_numpy(np.stack(parts)))) for parts in zip(*mixture.parts, strict=True)]


def _embedders(lab: Lab) -> list[Embedder]:
    """The profile's embedder, and the second."""
    return [lab.embedders[0], lab.embedders[-1]]


def _row(sound: str, metric: str, value: float, n: int, embedder: str = "") -> dict:
    return {"sound": sound, "metric": metric, "value": float(value), "n": n, "embedder": embedder}
