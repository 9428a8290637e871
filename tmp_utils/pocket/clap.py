"""Training of the two pocket CLAPs: one conditions the denoiser, the other (the judge) only scores clips.

Conventions: features are the log-mels of CLAP's feature extractor, (frames, 64), of the first 10 s. They are not
standardised, because HTSAT starts with a batch norm. Captions are token ids. Aim and loss follow Wu et al. 2023, except
that clips with equal captions count as positives for each other.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from tmp_utils.pocket import architecture
from tmp_utils.pocket.arrays import cached_rows
from tmp_utils.pocket.corpus import Corpus
from tmp_utils.pocket.training import descend

WINDOW_SAMPLES = architecture.CLAP_WINDOW_S * architecture.RATE_HZ
BATCH_SIZE, HIGHEST_LR, WEIGHT_DECAY = 48, 1e-3, 0.05
LEVEL_RANGE_DB = 6.0
EMBED_AT_ONCE = 32


def features(corpus: Corpus, cache: Path) -> np.ndarray:
    """CLAP features of every clip of a corpus.

    Returns
    -------
    float16 (n_clips, frames, 64) log-mels in dB, memory-mapped from ``cache``.
    """
    extractor = architecture.build_feature_extractor()

    def compute(batch: range) -> np.ndarray:
        clips = [corpus.clip(k)[:WINDOW_SAMPLES] for k in batch]
        return extractor(clips, sampling_rate=architecture.RATE_HZ)["input_features"][:, 0]

    n_frames = WINDOW_SAMPLES // architecture.HOP + 1
    return cached_rows(cache, (len(corpus.table), n_frames, architecture.N_MELS), compute, batch_size=16)


def contrastive_loss(audio: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy in which all clips with the same caption are positives of equal weight.

    Parameters
    ----------
    audio, text : unit rows (n, d).
    scale : inverse temperature.
    same : bool (n, n), true where two captions are equal.
    """
    logits = scale * audio @ text.T
    target = same.float() / same.sum(dim=1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def retrieved(audio: np.ndarray, text: np.ndarray, captions: list[str], k: int) -> np.ndarray:
    """For each caption, whether a clip with this caption is among the first `k` of all clips: bool (n,).

    Parameters
    ----------
    audio, text : unit rows (n, d), clip i belonging to caption i.
    """
    first, names = np.argsort(-(text @ audio.T), axis=1)[:, :k], np.array(captions)
    return (names[first] == names[:, None]).any(axis=1)


class ClapStage:
    """Contrastive training of one CLAP.

    Parameters
    ----------
    train, held_out : captions, and the features of their clips.
    model : transformers.ClapModel to start from; one with random weights if None.
    """

    validate_every = 100

    def __init__(self, name, tokenizer, train, held_out, seed, highest_lr=HIGHEST_LR, model=None):
        torch.manual_seed(seed)
        self.name, self.tokenizer = name, tokenizer
        (self.captions, self.features), (self.held_captions, self.held_features) = train, held_out
        self.model = model or architecture.build_clap(tokenizer)
        self.modules = {"clap": self.model}
        adamw = torch.optim.AdamW(self.model.parameters(), weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
        self.optimizers = {"clap": (adamw, highest_lr)}

    def _augment(self, mels: torch.Tensor, generator) -> torch.Tensor:
        """Roll each clip by a random time and change its level by at most 3 dB."""
        starts = torch.randint(mels.shape[1], (len(mels),), generator=generator).tolist()
        levels_db = LEVEL_RANGE_DB * (torch.rand(len(mels), 1, 1, generator=generator) - 0.5)
        return torch.stack([mel.roll(start, 0) for mel, start in zip(mels, starts, strict=True)]) + levels_db

    def step(self, generator: torch.Generator) -> dict[str, float]:
        """One batch."""
        self.model.train()
        chosen = torch.randint(len(self.captions), (BATCH_SIZE,), generator=generator).tolist()
        mels = torch.from_numpy(np.stack([self.features[k] for k in chosen]).astype(np.float32))
        texts = [self.captions[k] for k in chosen]
        tokens = self.tokenizer(texts, padding=True, return_tensors="pt")
        out = self.model(input_features=self._augment(mels, generator)[:, None], is_longer=None, **tokens)
        same = torch.tensor([[a == b for b in texts] for a in texts])
        scale = self.model.logit_scale_a.exp().clamp(max=100)
        loss = contrastive_loss(out.audio_embeds, out.text_embeds, scale, same)
        descend(self.optimizers["clap"][0], loss)
        return {"loss": loss.item(), "scale": scale.item()}

    def validate(self) -> dict[str, float]:
        """Retrieval over all held-out clips."""
        audio = embed_features(self.model, self.held_features).numpy()
        text = embed_captions(self.model, self.tokenizer, self.held_captions).numpy()
        return {f"R@{k}": float(retrieved(audio, text, self.held_captions, k).mean()) for k in (1, 10)}


@torch.no_grad()
def embed_features(model, mels) -> torch.Tensor:
    """Unit audio embeddings (n, d) of CLAP features (n, frames, 64)."""
    model.eval()
    rows = []
    for k in range(0, len(mels), EMBED_AT_ONCE):
        batch = torch.from_numpy(np.asarray(mels[k : k + EMBED_AT_ONCE], np.float32))[:, None]
        rows.append(model.get_audio_features(input_features=batch, is_longer=None).pooler_output)
    return F.normalize(torch.cat(rows), dim=-1)


@torch.no_grad()
def embed_captions(model, tokenizer, captions: list[str]) -> torch.Tensor:
    """Unit text embeddings (n, d)."""
    model.eval()
    tokens = tokenizer(captions, padding=True, return_tensors="pt")
    return F.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)
