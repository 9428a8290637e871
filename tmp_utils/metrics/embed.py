"""Embeddings of clips and of prompts, from which all similarities are computed.

Conventions: clips are mono float arrays (n,) at 16 kHz, of any length; an embedding is a row of a float32
array (n, d) with norm 1. An embedder hears fixed windows (10 s for CLAP, 0.96 s for VGGish): a longer clip is
cut in consecutive windows whose embeddings are averaged and made unit-norm again, a shorter one is repeated
until its window is full. (CLAP's own "repeatpad" repeats whole clips only, and fills up with silence: two clips of
6 s that have nothing in common but 4 s of silence are then more alike than a clip and its whole.) Nothing is
cropped at random: one clip has one embedding.
Scores of two embedders are never comparable, so each has a name that also tells its weights.

load_embedder     : the embedder of a spec such as "clap:pocket/judge".
Embedder          : what they share: windows, batches, the cache.
ClapEmbedder      : transformers' ClapModel, from a folder or a Hugging Face id.
VggishEmbedder    : VGGish, for the Frechet audio distance; it knows no prompts.
LaionClapEmbedder : in `embed_laion`, the paper's own checkpoint through the optional laion-clap.
"""

import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.weights import check_recorded, load_whole, readable, split_revision

BATCH_SIZE = 16
MIN_REST = 0.5  # what is left after the last whole window counts from half a window on
HASH_CHARS = 8
CACHE_FORM = b"/2"  # counted up when the same clip is heard in another way, so that no older row is taken for it
SPECS = '"clap:<folder or Hugging Face id>", "laion-clap:<checkpoint>" or "vggish:<weights file>"'


def cut_windows(clip: np.ndarray, window: int) -> list[np.ndarray]:
    """Return consecutive windows of at most ``window`` samples; a rest under half a window is left out."""
    starts = range(0, max(1, len(clip)), window)
    return [clip[i : i + window] for i in starts if i == 0 or len(clip) - i >= MIN_REST * window]


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows (n, d) scaled to norm 1, as float32.

    Raises
    ------
    ValueError
        If a row is zero or not finite: it has no direction.
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

    A subclass sets ``name``, ``rate_hz`` and ``window`` (samples at that rate) and gives ``_embed_batch``
    (windows -> rows) and ``embed_prompts``. ``cache_dir`` may be set at any time; None keeps nothing.
    """

    name: str
    rate_hz: int
    window: int
    cache_dir: Path | None = None

    def embed_clips(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Return one unit row a clip (n, d): the mean over its windows, made unit-norm again."""
        return np.concatenate([unit_rows(rows.mean(0)) for rows in self._rows(clips)])

    def embed_windows(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Return all windows of all clips (sum of windows, d), which the distances between sets need."""
        return np.concatenate(self._rows(clips))

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        """Return one unit row a prompt (n, d)."""
        raise NotImplementedError

    def _embed_batch(self, windows: list[np.ndarray]) -> np.ndarray:
        raise NotImplementedError

    def _rows(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the embeddings (k, d) of each clip's windows, from the cache where they are in it."""
        if len(clips) == 0:
            raise ValueError("no clips arrived; expected at least one array (n,). Check the run's clips.csv.")
        clips = [_checked(clip, i) for i, clip in enumerate(clips)]
        found = [self._recall(clip) for clip in clips]
        new = [i for i, rows in enumerate(found) if rows is None]
        windows = {i: cut_windows(self._resample(clips[i]), self.window) for i in new}
        flat = [np.resize(window, self.window) for i in new for window in windows[i]]
        batches = [self._embed_batch(flat[i : i + BATCH_SIZE]) for i in range(0, len(flat), BATCH_SIZE)]
        rows = iter(np.concatenate(batches)) if batches else iter(())
        for i in new:
            found[i] = self._keep(clips[i], np.stack([next(rows) for _ in windows[i]]))
        return found

    def _resample(self, clip: np.ndarray) -> np.ndarray:
        if self.rate_hz == RATE_HZ:
            return clip
        import soxr

        return soxr.resample(clip, RATE_HZ, self.rate_hz).astype(np.float32)

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

    def _keep(self, clip: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if self.cache_dir is not None:
            path = self._cache_file(clip)
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
            with os.fdopen(handle, "wb") as file:
                np.save(file, rows)
            Path(temporary).replace(path)
        return rows


def _folder_hash(folder: Path) -> str:
    """Return a short hash of everything in the folder that decides an embedding."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json", ".txt"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:HASH_CHARS]


class ClapEmbedder(Embedder):
    """CLAP through transformers, at the rate and window length of its own feature extractor."""

    def __init__(self, source: str | Path, device: str = "cpu", cache_dir: str | Path | None = None):
        import transformers

        folder = next((f for f in (Path(source).expanduser(), DATA_DIR / source) if f.is_dir()), None)
        place = str(folder or source)
        try:
            place, revision = (place, None) if folder else split_revision(place)
            pinned = {"revision": revision} if revision else {}
            self.model = load_whole(transformers.ClapModel, place, "embedder", **pinned).eval().to(device)
            # Of one commit, also where a branch has moved since the model was fetched.
            pinned = {} if folder else {"revision": self.model.config._commit_hash or revision}
            with readable(place, "embedder"):
                self.extractor = transformers.AutoFeatureExtractor.from_pretrained(place, **pinned)
                self.tokenizer = transformers.AutoTokenizer.from_pretrained(place, **pinned)
        except OSError as error:
            raise FileNotFoundError(
                f"embedder {str(source)!r}: no such folder here or under {DATA_DIR}, and no such model "
                f"within reach on Hugging Face. Give a folder of a ClapModel with its processor, or an id."
            ) from error
        version = _folder_hash(folder) if folder else (self.model.config._commit_hash or "")[:HASH_CHARS]
        self.name = f"clap:{source}@{version}"
        self.device, self.cache_dir = device, cache_dir
        self.rate_hz = self.extractor.sampling_rate
        self.window = int(self.extractor.nb_max_samples)

    def _embed_batch(self, windows: list[np.ndarray]) -> np.ndarray:
        import torch

        inputs = self.extractor(windows, sampling_rate=self.rate_hz, return_tensors="pt")
        # The extractor of a fusion model marks one clip of a batch, at random, as longer than it is.
        is_longer = torch.zeros_like(torch.as_tensor(inputs["is_longer"]), dtype=torch.bool)
        with torch.inference_mode():
            rows = self.model.get_audio_features(inputs["input_features"].to(self.device), is_longer)
        return unit_rows(_pooled(rows).float().cpu().numpy())

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        import torch

        if isinstance(prompts, str):
            raise ValueError(f"one string {prompts!r} arrived; expected a list of prompts.")
        tokens = self.tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            rows = self.model.get_text_features(
                tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device)
            )
        return unit_rows(_pooled(rows).float().cpu().numpy())


def _pooled(features):
    """Return the tensor of what get_*_features gives: transformers 5 wraps it, 4 did not."""
    return getattr(features, "pooler_output", features)


class VggishEmbedder(Embedder):
    """VGGish by Google's definition: one row (128,) a patch of 0.96 s, neither rectified nor unit-norm."""

    def __init__(self, weights: str | Path, device: str = "cpu", cache_dir: str | Path | None = None, **kwargs):
        from tmp_utils.metrics import vggish

        self.network = vggish.load_vggish(weights, **kwargs).to(device)
        self.name = f"vggish@{check_recorded(Path(weights))[:HASH_CHARS]}"
        self.device, self.cache_dir = device, cache_dir
        self.rate_hz, self.window = vggish.RATE_HZ, vggish.PATCH_FRAMES * vggish.HOP_SAMPLES

    def _rows(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        import torch

        from tmp_utils.metrics.vggish import log_mel_patches

        clips = [_checked(clip, i) for i, clip in enumerate(clips)]
        found = [self._recall(clip) for clip in clips]
        for i, rows in enumerate(found):
            if rows is None:  # patches overlap by a frame's length, so VGGish cuts its own
                with torch.inference_mode():
                    rows = self.network(log_mel_patches(clips[i]).to(self.device)).cpu().numpy()
                found[i] = self._keep(clips[i], rows)
        return found

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        raise ValueError("VGGish hears but does not read; for CLAP-T use a CLAP such as 'clap:pocket/judge'.")


def load_embedder(spec: str, device: str = "cpu", cache_dir: str | Path | None = None) -> Embedder:
    """Return the embedder of a spec: "clap:<folder or id>", "laion-clap:<checkpoint>" or "vggish:<weights>".

    Parameters
    ----------
    spec : str
        A relative folder may be under `DATA_DIR`. Plain "vggish" reads ``runs/cache/vggish-10086976.pth``.
    cache_dir : path, optional
        Where embeddings are kept by the hash of the samples and the embedder's name.

    Raises
    ------
    ValueError
        If the spec names no embedder.
    """
    kind, _, source = spec.partition(":")
    if kind == "clap" and source:
        return ClapEmbedder(source, device, cache_dir)
    if kind == "laion-clap" and source:
        return LaionClapEmbedder(source, device, cache_dir)
    if kind == "vggish":
        default = DATA_DIR.parent / "runs" / "cache" / "vggish-10086976.pth"
        return VggishEmbedder(source or default, device, cache_dir)
    raise ValueError(f"embedder {spec!r} is unknown; expected {SPECS}.")


CHECKPOINT = "music_audioset_epoch_15_esc_90.14.pt"
UNUSED = "text_branch.embeddings.position_ids"  # a buffer of old transformers versions


def _laion_clap():
    try:
        import laion_clap
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            f"the paper's CLAP checkpoint needs laion-clap, which does not load here ({error}). Install the "
            "extra with pip install -e '.[laion]' (laion-clap, and a torchvision that matches torch; numpy "
            "below 2, so Python 3.12 at most), or use 'clap:laion/larger_clap_music' and say so."
        ) from error
    except OSError as error:
        raise ImportError(
            f"laion-clap fetches the tokenizer of roberta-base when it is imported, and could not ({error}). "
            "Run once with a network, or use the embedder 'clap:pocket/judge'."
        ) from error
    return laion_clap


class LaionClapEmbedder(Embedder):
    """laion-clap without its random crop: it gets windows of at most 10 s, which it repeats and pads."""

    rate_hz, window = 48000, 480000

    def __init__(self, checkpoint: str | Path, device: str = "cpu", cache_dir: str | Path | None = None):
        import torch

        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no laion-clap checkpoint there. The paper's is {CHECKPOINT}, from "
                "https://huggingface.co/lukewys/laion_clap; fetch it and give 'laion-clap:<path>'."
            )
        digest = check_recorded(path)
        self.module = _laion_clap().CLAP_Module(enable_fusion=False, device=device, amodel="HTSAT-base")
        # The checkpoint is a pickle; only tensors and plain numbers of it are let in.
        numpy_scalars = [np.dtype, type(np.dtype("float64")), np.float64(0).__reduce__()[0]]
        with readable(path, "embedder"), torch.serialization.safe_globals(numpy_scalars):
            weights = torch.load(path, map_location="cpu", weights_only=True)
            weights = {k.removeprefix("module."): v for k, v in weights.get("state_dict", weights).items()}
            weights.pop(UNUSED, None)
            self.module.model.load_state_dict(weights)
        self.module.eval()
        self.name = f"laion-clap:{path.name}@{digest[:HASH_CHARS]}"
        self.cache_dir = cache_dir

    def _embed_batch(self, windows: list[np.ndarray]) -> np.ndarray:
        return unit_rows(self.module.get_audio_embedding_from_data(x=windows, use_tensor=False))

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        # laion-clap squeezes a batch of one, so a single prompt is asked twice.
        prompts = list(prompts)
        padded = prompts if len(prompts) > 1 else prompts * 2
        return unit_rows(self.module.get_text_embedding(padded, use_tensor=False))[: len(prompts)]
