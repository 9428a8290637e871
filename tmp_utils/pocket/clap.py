"""The pocket CLAPs: one conditions the model, another, trained apart, judges it.

Conventions: features are CLAP's own log-mels (frames, 64) of the first 10 s, standardised nowhere (HTSAT has a batch
norm); captions are token ids. Aim and loss: Wu et al. 2023, except that two clips with one caption are both right
answers for each other, not negatives.

features     : clips to CLAP features, computed once and cached.
ClapStage    : contrastive training.
retrieval    : R@1 and R@10 of held-out captions, text to audio.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from tmp_utils.pocket import architecture
from tmp_utils.pocket.corpus import Corpus

WINDOW_SAMPLES = architecture.CLAP_WINDOW_S * architecture.RATE_HZ
BATCH_SIZE, HIGHEST_LR, WEIGHT_DECAY = 48, 1e-3, 0.05
LEVEL_RANGE_DB = 6.0


def features(corpus: Corpus, cache: Path) -> np.ndarray:
    """CLAP features of every clip of a corpus.

    Returns
    -------
    numpy.ndarray
        float16 (n_clips, frames, 64) log-mels in dB, memory-mapped from ``cache``.
    """
    if not cache.exists():
        extractor = architecture.build_feature_extractor()
        cache.parent.mkdir(parents=True, exist_ok=True)
        part = cache.with_suffix(".part.npy")
        n_frames = WINDOW_SAMPLES // architecture.HOP + 1
        out = np.lib.format.open_memmap(part, "w+", np.float16, (len(corpus.table), n_frames, architecture.N_MELS))
        for k in tqdm(range(len(corpus.table)), desc="CLAP features"):
            clip = corpus.clip(k)[:WINDOW_SAMPLES]
            out[k] = extractor(clip, sampling_rate=architecture.RATE_HZ)["input_features"][0][0]
        out.flush()
        part.rename(cache)
    return np.load(cache, mmap_mode="r")


def contrastive_loss(audio: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy in which every clip with the same caption is an equally right answer.

    Parameters
    ----------
    audio, text : torch.Tensor
        Unit rows (n, d).
    scale : torch.Tensor
        Inverse temperature.
    same : torch.Tensor
        bool (n, n), true where two captions are equal.
    """
    logits = scale * audio @ text.T
    target = same.float() / same.sum(dim=1, keepdim=True)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


@torch.no_grad()
def retrieval(audio: torch.Tensor, text: torch.Tensor, captions: list[str], ks=(1, 10)) -> dict[str, float]:
    """Text-to-audio recall: is a clip with this caption among the first k of all clips?

    Parameters
    ----------
    audio, text : torch.Tensor
        Unit rows (n, d), clip i belonging to caption i.
    captions : list of str
    ks : tuple of int

    Returns
    -------
    dict
        ``R@k`` in [0, 1] for each k.
    """
    order = (text @ audio.T).argsort(dim=1, descending=True)
    names = np.array(captions)
    right = torch.from_numpy(names[order.numpy()] == names[:, None])
    return {f"R@{k}": right[:, :k].any(dim=1).float().mean().item() for k in ks}


class ClapStage:
    """Contrastive training of one CLAP.

    Parameters
    ----------
    name : str
    tokenizer : transformers.RobertaTokenizerFast
    train, held_out : (list of str, numpy.ndarray)
        Captions, and the features of the clips they belong to.
    seed : int
    highest_lr : float
    model : transformers.ClapModel, optional
        What to go on from; fresh weights if None.
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
        """Start anywhere in time, at another level."""
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
        optimizer = self.optimizers["clap"][0]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item(), "scale": scale.item()}

    def validate(self) -> dict[str, float]:
        """Retrieval over all held-out clips."""
        audio = embed_features(self.model, self.held_features)
        return retrieval(audio, embed_captions(self.model, self.tokenizer, self.held_captions), self.held_captions)


@torch.no_grad()
def embed_features(model, mels, batch_size: int = 32) -> torch.Tensor:
    """Unit audio embeddings (n, d) of CLAP features (n, frames, 64)."""
    model.eval()
    rows = []
    for k in range(0, len(mels), batch_size):
        batch = torch.from_numpy(np.asarray(mels[k : k + batch_size], np.float32))[:, None]
        rows.append(model.get_audio_features(input_features=batch, is_longer=None).pooler_output)
    return F.normalize(torch.cat(rows), dim=-1)


@torch.no_grad()
def embed_captions(model, tokenizer, captions: list[str]) -> torch.Tensor:
    """Unit text embeddings (n, d)."""
    model.eval()
    tokens = tokenizer(captions, padding=True, return_tensors="pt")
    return F.normalize(model.get_text_features(**tokens).pooler_output, dim=-1)
