"""How well a mixture is separated, and how well its words are: against the stems.

Conventions: clips are mono float arrays (n,) at 16 kHz, mels and masks as in `inputs.masks`. Of generated clips of a
word, *closeness* is the mean cosine to the clips of its own sound, *leakage* the same to the clips of the others, and
*difference* closeness minus leakage: 0 where a word is as near to another sound as to its own. Leakage is not 0 for a
perfect word, since sounds may be alike; the parts themselves say what it can be.
Of clips of a prompt with all words, *both* is the mean of each clip's smallest mean cosine to a sound's
clips: low where one of the sounds is missing in most clips.
"""

from collections.abc import Sequence

import numpy as np
import torch

from tmp_utils.inputs.audio import log_mel
from tmp_utils.inputs.masks import masked_clip, masked_mels
from tmp_utils.metrics.similarity import similarity_matrix


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    """SI-SDR of an estimate (n,) in dB (Le Roux et al. 2019, https://arxiv.org/abs/1811.02508); inf of the target.

    Raises
    ------
    ValueError
        If one is silent, or they differ in length.
    """
    estimate, target = (np.asarray(x, dtype=np.float64) for x in (estimate, target))
    if estimate.shape != target.shape:
        raise ValueError(f"shapes {estimate.shape} and {target.shape}; expected two clips (n,) of one length.")
    estimate, target = estimate - estimate.mean(), target - target.mean()
    if not (np.any(estimate) and np.any(target)):
        raise ValueError("a clip is silent, so there is no ratio to it. Leave it out.")
    scaled = target * (estimate @ target) / (target @ target)
    rest = np.sum((estimate - scaled) ** 2)
    return float(10 * np.log10(np.sum(scaled**2) / rest)) if rest > 0 else float("inf")


def mel_l1(mel: torch.Tensor, target: torch.Tensor) -> float:
    """Mean absolute difference of two log-mels (frames, 64), in nats; 0.115 is 1 dB."""
    return float((mel - target).abs().mean())


def mask_scores(clip: np.ndarray, masks: torch.Tensor, parts: Sequence[np.ndarray]) -> dict[str, list[float]]:
    """si_sdr and mel_l1, a value a sound, of the parts of one clip under masks (k, frames, 64).

    Masks of ones are no separation: the mixture itself stands for every part.
    """
    mel = log_mel(torch.as_tensor(np.asarray(clip, dtype=np.float32)))
    true = log_mel(torch.as_tensor(np.stack(parts).astype(np.float32)))
    estimates = [masked_clip(clip, mask) for mask in masks]
    mels = masked_mels(mel, masks)
    return {
        "si_sdr": [si_sdr(estimate, part) for estimate, part in zip(estimates, parts, strict=True)],
        "mel_l1": [mel_l1(ours, theirs) for ours, theirs in zip(mels, true, strict=True)],
    }


def both_scores(generated: np.ndarray, parts: Sequence[np.ndarray]) -> float:
    """*both* of embeddings (n, d) of clips of all words; `parts` as in `word_scores`."""
    near = [similarity_matrix(generated, part).mean(axis=1) for part in parts]
    return float(np.min(near, axis=0).mean())


def word_scores(generated: np.ndarray, parts: Sequence[np.ndarray], own: int) -> dict[str, float]:
    """closeness, leakage and difference of embeddings (n, d) of a word's clips.

    Parameters
    ----------
    parts : of each sound its clips' embeddings (m, d).
    own : which of them the word stands for.
    """
    near = [float(similarity_matrix(generated, part).mean()) for part in parts]
    leakage = float(np.mean([value for i, value in enumerate(near) if i != own]))
    return {"closeness": near[own], "leakage": leakage, "difference": near[own] - leakage}
