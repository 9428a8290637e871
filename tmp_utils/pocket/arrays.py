"""Arrays that are computed once for a whole corpus and read from disk afterwards."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from tmp_utils.files import whole_folder

ROWS = "rows.npy"


def cached_rows(
    folder: Path, shape: tuple[int, ...], compute: Callable[[range], np.ndarray], batch_size: int
) -> np.ndarray:
    """Compute the rows of an array, or read them if an earlier call has finished.

    Parameters
    ----------
    folder : appears when every row is computed.
    shape : (n_clips, ...).
    compute : numbers of up to ``batch_size`` clips -> their rows (b, ...).

    Returns
    -------
    float16 of that shape, memory-mapped and read-only.
    """
    if not folder.exists():
        with whole_folder(folder) as part:
            rows = np.lib.format.open_memmap(part / ROWS, "w+", np.float16, shape)
            for k in tqdm(range(0, shape[0], batch_size), desc=f"{folder.parent.name}/{folder.name}"):
                batch = range(k, min(k + batch_size, shape[0]))
                rows[k : batch.stop] = compute(batch)
            rows.flush()
    return np.load(folder / ROWS, mmap_mode="r")


def random_crops(array: np.ndarray, n: int, length: int, generator: torch.Generator) -> tuple[list[int], torch.Tensor]:
    """Draw ``n`` random clips, and of each a crop of ``length`` frames: their numbers, and float32 (n, length, ...)."""
    clips = torch.randint(len(array), (n,), generator=generator).tolist()
    starts = torch.randint(array.shape[1] - length + 1, (n,), generator=generator).tolist()
    crops = np.stack([array[c, s : s + length] for c, s in zip(clips, starts, strict=True)])
    return clips, torch.from_numpy(crops.astype(np.float32))
