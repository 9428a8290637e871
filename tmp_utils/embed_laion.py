"""The paper's own CLAP checkpoint, through the optional package laion-clap.

Conventions as in `embed`; 48 kHz, 10 s windows, HTSAT-base as the music checkpoints have it. The paper's
file is music_audioset_epoch_15_esc_90.14.pt of https://huggingface.co/lukewys/laion_clap. Nothing of
laion-clap is imported before an embedder is made: the package downloads a tokenizer at import.

LaionClapEmbedder : a checkpoint file -> an embedder.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tmp_utils.embed import HASH_CHARS, Embedder, unit_rows

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

        from tmp_utils.vggish import sha256_of

        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no laion-clap checkpoint there. The paper's is {CHECKPOINT}, from "
                "https://huggingface.co/lukewys/laion_clap; fetch it and give 'laion-clap:<path>'."
            )
        self.module = _laion_clap().CLAP_Module(enable_fusion=False, device=device, amodel="HTSAT-base")
        # The checkpoint is a pickle; only tensors and plain numbers of it are let in.
        numpy_scalars = [np.dtype, type(np.dtype("float64")), np.float64(0).__reduce__()[0]]
        with torch.serialization.safe_globals(numpy_scalars):
            weights = torch.load(path, map_location="cpu", weights_only=True)
        weights = {k.removeprefix("module."): v for k, v in weights.get("state_dict", weights).items()}
        weights.pop(UNUSED, None)
        self.module.model.load_state_dict(weights)
        self.module.eval()
        self.name = f"laion-clap:{path.name}@{sha256_of(path)[:HASH_CHARS]}"
        self.cache_dir = cache_dir

    def _embed_batch(self, windows: list[np.ndarray]) -> np.ndarray:
        return unit_rows(self.module.get_audio_embedding_from_data(x=windows, use_tensor=False))

    def embed_prompts(self, prompts: Sequence[str]) -> np.ndarray:
        # laion-clap squeezes a batch of one, so a single prompt is asked twice.
        prompts = list(prompts)
        padded = prompts if len(prompts) > 1 else prompts * 2
        return unit_rows(self.module.get_text_embedding(padded, use_tensor=False))[: len(prompts)]
