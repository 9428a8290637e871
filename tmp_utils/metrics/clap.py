"""CLAP, which embeds clips and prompts in one space.

Conventions: those of `embed`; windows are 10 s.

ClapEmbedder       : transformers' ClapModel, from a folder or a Hugging Face id.
CheckpointEmbedder : it, from the paper's checkpoint.
LaionClapEmbedder  : the paper's checkpoint through the optional package laion-clap, the reference.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import transformers

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.weights import load_whole, readable, split_revision
from tmp_utils.metrics import clap_checkpoint
from tmp_utils.metrics.clap_checkpoint import check_checkpoint, convert, read_checkpoint, through_int16
from tmp_utils.metrics.embed import HASH_CHARS, Embedder, unit_rows

TOKENIZER = "FacebookAI/roberta-base"
UNUSED = "text_branch.embeddings.position_ids"  # a buffer of old transformers versions


def _folder_hash(folder: Path) -> str:
    """Return a short hash of everything in the folder that decides an embedding."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".bin", ".json", ".txt"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:HASH_CHARS]


class ClapEmbedder(Embedder):
    """CLAP through transformers, at the rate and window length of its own feature extractor."""

    padding: ClassVar = {"padding": True}

    def __init__(self, source: str | Path, device: str = "cpu", cache_dir: str | Path | None = None):
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
        with torch.inference_mode():
            rows = self.model.get_audio_features(**self._inputs(windows))
        return unit_rows(_pooled(rows).float().cpu().numpy())

    def _inputs(self, windows: list[np.ndarray]) -> dict[str, torch.Tensor]:
        inputs = self.extractor(windows, sampling_rate=self.rate_hz, return_tensors="pt")
        # The extractor of a fusion model marks one clip of a batch, at random, as longer than it is.
        is_longer = torch.zeros_like(torch.as_tensor(inputs["is_longer"]), dtype=torch.bool)
        return {"input_features": inputs["input_features"].to(self.device), "is_longer": is_longer}

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        if isinstance(prompts, str):
            raise ValueError(f"one string {prompts!r} arrived; expected a list of prompts.")
        tokens = self.tokenizer(list(prompts), truncation=True, return_tensors="pt", **self.padding)
        with torch.inference_mode():
            rows = self.model.get_text_features(
                tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device)
            )
        return unit_rows(_pooled(rows).float().cpu().numpy())


def _pooled(features):
    """Return the tensor of what get_*_features gives: transformers 5 wraps it, 4 did not."""
    return getattr(features, "pooler_output", features)


class CheckpointEmbedder(ClapEmbedder):
    """The paper's CLAP without laion-clap: its checkpoint, read into transformers' ClapModel."""

    rate_hz, window = clap_checkpoint.RATE_HZ, clap_checkpoint.WINDOW
    padding: ClassVar = {"padding": "max_length", "max_length": 77}

    def __init__(self, source: str | Path, device: str = "cpu", cache_dir: str | Path | None = None):
        path = check_checkpoint(source)
        try:
            self.tokenizer = transformers.RobertaTokenizer.from_pretrained(TOKENIZER)
        except OSError as error:
            raise ConnectionError(
                f"embedder {path.name}: the tokenizer of {TOKENIZER} (2 MB) is not in the Hugging Face cache and "
                f"cannot be downloaded ({type(error).__name__}). Connect once to fetch it."
            ) from error
        tensors, digest = read_checkpoint(path)
        model, front_end = convert(tensors, path)
        self.model, self.front_end = model.to(device), front_end.to(device)
        self.name = f"clap-checkpoint:{path.name}@{digest[:HASH_CHARS]}"
        self.device, self.cache_dir = device, cache_dir

    @staticmethod
    def check(source: str) -> None:
        check_checkpoint(source)

    def _inputs(self, windows: list[np.ndarray]) -> dict[str, torch.Tensor]:
        samples = torch.from_numpy(through_int16(np.stack(windows)))
        return {"input_features": self.front_end(samples.to(self.device))}


NO_LAION = (
    "the embedder 'laion-clap' needs the package laion-clap, which does not load here ({}). Install the extra with "
    "pip install -e '.[laion]' (laion-clap, and a torchvision that matches torch; numpy below 2, so Python 3.12 at "
    "most), or read the same checkpoint by 'clap-checkpoint:<checkpoint>'."
)


def _laion_clap():
    try:
        import laion_clap
    except (ImportError, RuntimeError) as error:
        raise ImportError(NO_LAION.format(error)) from error
    except OSError as error:
        raise ImportError(
            f"laion-clap fetches the tokenizer of roberta-base when it is imported, and could not ({error}). "
            "Run once with a network, or use the embedder 'clap:pocket/judge'."
        ) from error
    return laion_clap


class LaionClapEmbedder(Embedder):
    """laion-clap without its random crop: windows are at most 10 s."""

    rate_hz, window = 48000, 480000

    def __init__(self, checkpoint: str | Path, device: str = "cpu", cache_dir: str | Path | None = None):
        path = check_checkpoint(checkpoint)
        self.module = _laion_clap().CLAP_Module(enable_fusion=False, device=device, amodel="HTSAT-base")
        tensors, digest = read_checkpoint(path)
        tensors.pop(UNUSED, None)
        with readable(path, "embedder"):
            self.module.model.load_state_dict(tensors)
        self.module.eval()
        self.name = f"laion-clap:{path.name}@{digest[:HASH_CHARS]}"
        self.cache_dir = cache_dir

    @staticmethod
    def check(source: str) -> None:
        if importlib.util.find_spec("laion_clap") is None:
            raise ImportError(NO_LAION.format("it is not installed"))
        check_checkpoint(source)

    def _embed_batch(self, windows: list[np.ndarray]) -> np.ndarray:
        return unit_rows(self.module.get_audio_embedding_from_data(x=windows, use_tensor=False))

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        # laion-clap squeezes a batch of one, so a single prompt is given twice.
        prompts = list(prompts)
        padded = prompts if len(prompts) > 1 else prompts * 2
        return unit_rows(self.module.get_text_embedding(padded, use_tensor=False))[: len(prompts)]
