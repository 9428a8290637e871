"""Embeddings of clips and of prompts, from which all similarities are computed.

Conventions: clips are mono float arrays (n,) at 16 kHz, of any length; an embedding is a row of a float32
array (n, d) with norm 1. An embedder takes fixed windows (10 s for CLAP, 3 s for MusiCNN, 0.96 s for VGGish). A longer
clip is cut in consecutive windows whose embeddings are averaged and made unit-norm again, a shorter one is repeated
until its window is full. (CLAP's "repeatpad" repeats whole clips only, and pads with silence: two clips of
6 s that have nothing in common but 4 s of silence are then more alike than a clip and its whole.) Nothing is
cropped at random: one clip has one embedding.
Scores of two embedders are never comparable, so each has a name that also identifies its weights.

load_embedder  : the embedder of a spec such as "clap:pocket/judge" or "musicnn:MTT".
check_embedder : whether its files are there, before anything is loaded or downloaded.
Embedder       : what they share: windows, batches, the cache. The embedders are in `clap`, `musicnn` and `vggish`.
LevelMatched   : an embedder of clips that are brought to one loudness first, "clap:pocket/judge+level".
"""

import hashlib
import importlib
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tmp_utils.files import write_bytes
from tmp_utils.inputs.audio import RATE_HZ, match_loudness, resampled
from tmp_utils.metrics.names import LEVEL_MATCHED

BATCH_SIZE = 16
LEVEL_LUFS = -20.0  # of level-matched clips: near the median of the shipped ones, -20.7
MIN_REST = 0.5  # what is left after the last whole window counts from half a window on
HASH_CHARS = 8
CACHE_FORM = b"/2"  # counted up when the same clip is embedded in another way, so that older rows are not used for it
# kind -> module and class, imported when the embedder is loaded; and what may follow the colon.
EMBEDDERS = {
    "clap": ("clap", "ClapEmbedder", "<folder or Hugging Face id>"),
    "clap-checkpoint": ("clap", "CheckpointEmbedder", "<checkpoint>"),
    "laion-clap": ("clap", "LaionClapEmbedder", "<checkpoint>"),
    "musicnn": ("musicnn", "MusicnnEmbedder", "MTT"),
    "vggish": ("vggish", "VggishEmbedder", "<weights file>"),
}


def cut_windows(clip: np.ndarray, window: int) -> list[np.ndarray]:
    """Return consecutive windows of at most ``window`` samples; a rest under half a window is left out."""
    starts = range(0, max(1, len(clip)), window)
    return [clip[i : i + window] for i in starts if i == 0 or len(clip) - i >= MIN_REST * window]


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows (n, d) scaled to norm 1, as float32.

    Raises
    ------
    ValueError : a row is zero or not finite: it has no direction.
    """
    rows = np.atleast_2d(np.asarray(rows, dtype=np.float64))
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)).ravel()).tolist()
        raise ValueError(f"embeddings {bad} are zero or not finite. Check the embedder's weights.")
    return (rows / norms).astype(np.float32)


def _checked(clip: np.ndarray, index: int) -> np.ndarray:
    clip = np.ascontiguousarray(clip, dtype=np.float32)
    if clip.ndim != 1 or clip.size == 0:
        raise ValueError(f"clip {index} has shape {clip.shape}; expected one channel (n,) at {RATE_HZ} Hz.")
    if not np.isfinite(clip).all():
        raise ValueError(f"clip {index} holds NaN or infinite samples; its file is broken. Make it again.")
    return clip


class Embedder:
    """Shared by all embedders: windows, batches and the cache.

    A subclass sets ``name`` and gives `_embed` (clips -> rows of each clip's windows). One that takes plain windows of
    samples sets ``rate_hz`` and ``window`` (samples at that rate) and gives ``_embed_batch`` (windows -> rows) instead.
    ``cache_dir`` may be set at any time; with None nothing is cached.
    """

    name: str
    rate_hz: int
    window: int
    cache_dir: Path | None = None

    @staticmethod
    def check(source: str) -> None:
        """Raise the errors of loading that can be known at once; see `check_embedder`."""

    def embed_clips(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Return one unit row a clip (n, d): the mean over its windows, made unit-norm again."""
        return np.concatenate([unit_rows(rows.mean(0)) for rows in self._rows(clips)])

    def embed_windows(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Return all windows of all clips (sum of windows, d), which the distances between sets need."""
        return np.concatenate(self._rows(clips))

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        """Return one unit row a prompt (n, d).

        Raises
        ------
        ValueError : the embedder takes sound only.
        """
        raise ValueError(
            f"{self.name} embeds sound and no text. Compare clips with prompts by a CLAP such as 'clap:pocket/judge'."
        )

    def _rows(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the embeddings (k, d) of each clip's windows, from the cache where it has them."""
        if len(clips) == 0:
            raise ValueError("no clips arrived; expected at least one array (n,). Check the run's clips.csv.")
        clips = [_checked(clip, i) for i, clip in enumerate(clips)]
        rows = [self._recall(clip) for clip in clips]
        new = [i for i, known in enumerate(rows) if known is None]
        for i, embedded in zip(new, self._embed([clips[i] for i in new]) if new else (), strict=True):
            rows[i] = self._cache(clips[i], embedded)
        return rows

    def _embed(self, clips: list[np.ndarray]) -> list[np.ndarray]:
        """Return the embeddings (k, d) of each clip's windows."""
        windows = [cut_windows(resampled(clip, RATE_HZ, self.rate_hz), self.window) for clip in clips]
        flat = [np.resize(window, self.window) for of_clip in windows for window in of_clip]
        batches = [self._embed_batch(flat[i : i + BATCH_SIZE]) for i in range(0, len(flat), BATCH_SIZE)]
        return np.split(np.concatenate(batches), np.cumsum([len(of_clip) for of_clip in windows])[:-1])

    def _embed_batch(self, windows: list[np.ndarray]) -> np.ndarray:
        raise NotImplementedError

    def _cache_file(self, clip: np.ndarray) -> Path:
        digest = hashlib.sha256(clip.tobytes() + self.name.encode() + CACHE_FORM).hexdigest()
        return Path(self.cache_dir) / re.sub(r"[^\w.@-]+", "_", self.name) / f"{digest}.npy"

    def _recall(self, clip: np.ndarray) -> np.ndarray | None:
        if self.cache_dir is None or not (path := self._cache_file(clip)).is_file():
            return None
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            warnings.warn(f"{path}: a damaged cached embedding ({error}); it is made again.", stacklevel=2)
            return None

    def _cache(self, clip: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if self.cache_dir is not None:
            path, data = self._cache_file(clip), io.BytesIO()
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(data, rows)
            write_bytes(path, data.getvalue())
        return rows


class LevelMatched(Embedder):
    """An embedder of clips that are brought to `LEVEL_LUFS` first, so that no score depends on their levels.

    One level for all, not each concept's: then the references of all concepts are comparable, and a clip has one
    embedding. It leaves the concepts as far apart as they are (the pocket's CLAP: cosine 0.893 within and 0.120 between
    the shipped concepts, at their levels 0.893 and 0.121), where 6 dB less cost a clip 0.03 of cosine on average, and
    20 dB 0.31.

    Parameters
    ----------
    embedder : its name, with "+level", names this one.
    """

    def __init__(self, embedder: Embedder):
        self.embedder, self.name = embedder, embedder.name + LEVEL_MATCHED

    @property
    def cache_dir(self) -> Path | None:
        """That of the embedder."""
        return self.embedder.cache_dir

    @cache_dir.setter
    def cache_dir(self, folder: Path | None) -> None:
        self.embedder.cache_dir = folder

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        """Return the embedder's rows: prompts have no level."""
        return self.embedder.embed_prompts(prompts)

    def _rows(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        clips = [match_loudness(_checked(clip, i), LEVEL_LUFS) for i, clip in enumerate(clips)]
        return self.embedder._rows(clips)


def load_embedder(spec: str, device: str = "cpu", cache_dir: str | Path | None = None) -> Embedder:
    """Return the embedder of a spec.

    Parameters
    ----------
    spec : "clap:<folder or id>" (a relative folder may be under `DATA_DIR`), "clap-checkpoint:<path or name>" (of
        laion-clap's form; a name may be in ``runs/cache`` or the Hugging Face cache), "laion-clap:<the same>",
        "musicnn:MTT" or "vggish:<weights>"; plain "vggish" reads ``runs/cache/vggish-10086976.pth``. With "+level" at
        its end, clips are brought to one loudness before they are embedded.
    cache_dir : where embeddings are cached, by the hash of the samples and the embedder's name.

    Raises
    ------
    ValueError : the spec names no embedder.
    """
    if spec.endswith(LEVEL_MATCHED):
        return LevelMatched(load_embedder(spec.removesuffix(LEVEL_MATCHED), device, cache_dir))
    kind, source = _class_of(spec)
    return kind(source, device, cache_dir)


def check_embedder(spec: str) -> None:
    """Check what can be known of an embedder before anything is loaded or downloaded.

    Raises
    ------
    ValueError, FileNotFoundError, ImportError : the spec names no embedder, the checkpoint that it names is not there
        or not whole, or its package is not installed.
    """
    kind, source = _class_of(spec.removesuffix(LEVEL_MATCHED))
    kind.check(source)


def _class_of(spec: str) -> tuple[type[Embedder], str]:
    kind, _, source = spec.partition(":")
    if kind not in EMBEDDERS or not (source or kind == "vggish"):
        specs = ", ".join(f'"{kind}:{source}"' for kind, (_, _, source) in EMBEDDERS.items())
        raise ValueError(f"embedder {spec!r} is unknown; expected one of {specs}.")
    module, name, _ = EMBEDDERS[kind]
    return getattr(importlib.import_module(f"tmp_utils.metrics.{module}"), name), source
