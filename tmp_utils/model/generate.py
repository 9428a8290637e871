"""What an adapter sounds like: prompts and seeds to clips.

Conventions: a clip is float32 (n,) at 16 kHz, in files at the backbone's own rate, as loud as the model made it. Every
clip starts from noise of its seed, drawn on the CPU, and its prompt is encoded alone, so that clip k of a prompt does
not depend on what else is generated. Batches are always full, the last one with spare rows, since on a CPU the same row
gives the same bits wherever it is in a batch, but not in a batch of another size (about 1e-5 of full scale apart).

generate        : prompts + seeds -> clips.
generate_clips  : an adapter's whole set of clips -> a folder with `clips.csv`.
clip_seed       : seed, prompt and index -> the clip's seed.
planned_clips   : profile + words -> what that set is.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from tmp_utils.files import file_sha256, write_bytes, write_text
from tmp_utils.inputs import audio
from tmp_utils.inputs.audio import CLIP_S, CLIP_SUFFIX, RATE_HZ, loudness_lufs, resampled, save_clip
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import Profile
from tmp_utils.inputs.prompts import RECONSTRUCTION, editability_prompts, fill, reconstruction_prompt
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.backbone import Backbone, unit_noise
from tmp_utils.model.combination import Combination
from tmp_utils.model.device import explained
from tmp_utils.model.device import precision as compute_type
from tmp_utils.model.tensors import EMBEDDING, check_strength

CLIPS_CSV, CHECKSUMS = "clips.csv", "SHA256SUMS"
BATCH = 4


def clip_seed(seed: int, prompt_id: str, index: int) -> int:
    """Seed in [0, 2^31) of clip `index` of a prompt, for a run's `seed`."""
    digest = hashlib.sha256(f"{seed}/{prompt_id}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def generate(
    backbone: Backbone,
    prompts: list[str],
    seeds: list[int],
    *,
    adapter: Adapter | Combination | Sequence[Adapter] | None = None,
    strength: float = 1.0,
    steps: int = 50,
    guidance_scale: float = 2.5,
    scheduler: str | None = None,
    clip_s: float = CLIP_S,
    batch_size: int = BATCH,
    precision: str = "auto",
    rate_hz: int = RATE_HZ,
    progress: bool = True,
) -> list[np.ndarray]:
    """Generate one clip for each prompt and seed, as the pipeline would.

    Parameters
    ----------
    prompts, seeds : as many of each.
    adapter : applied meanwhile; None is the backbone as it is (or with what is applied to it already). Several in one
        prompt: `combine` them. One for each prompt, where all are new words only (TI): their clips then share batches.
    strength : of the adapter, from 0 to 1.5: 1 is what was learned, 0 the backbone as it is, asked for the class noun
        where the prompt has the adapter's words. In between, the condition moves from one prompt's to the other's.
    scheduler : a diffusers scheduler without its last word, such as "DPMSolverMultistep"; None is the pipeline's.
    clip_s : duration of each clip in seconds.
    batch_size : clips at a time; 1 is quickest for a single clip.
    precision : what the denoiser computes in, as in `Hyperparameters`; "auto" is fp32 on a CPU, half on a GPU.
    rate_hz : of the clips that are returned.

    Returns
    -------
    list of float32 (round(clip_s * rate_hz),).

    Raises
    ------
    ValueError : not as many seeds (or adapters) as prompts, a duration that is not positive, adapters to share a
        batch that change weights, or a strength that is not from 0 to 1.5, or of no adapter.
    OutOfMemory : the message says what to change.
    """
    if len(prompts) != len(seeds):
        raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds; give one seed for each prompt.")
    if clip_s <= 0:
        raise ValueError(f"clip_s={clip_s}: a clip lasts longer than 0 s.")
    n, dtype = round(clip_s * backbone.rate_hz), compute_type(precision, backbone.device.type)
    shape, clips = backbone.latent_shape(clip_s), []
    numbers = {"steps": steps, "guidance_scale": guidance_scale, "dtype": dtype}
    numbers["scheduler"] = backbone.choose_scheduler(scheduler) if scheduler else None
    check_strength(strength)
    if strength != 1 and not adapter:
        raise ValueError(f"strength={strength:g} without an adapter: only an adapter has a strength.")
    if not prompts:
        return []
    what = f"generating with batch_size={batch_size}, clip_s={clip_s:g}: halve either; precision is {precision}"
    with explained(what), backbone.lasting(clip_s), _conditions(backbone, prompts, adapter, strength) as conditions:
        for first in tqdm(range(0, len(prompts), batch_size), desc="generating", disable=not progress, leave=False):
            part = slice(first, first + batch_size)
            condition = torch.stack(conditions[part])
            noise, spare = unit_noise(seeds[part], shape), batch_size - len(condition)
            noise = torch.cat([noise, noise[-1:].expand(spare, *shape)])
            condition = torch.cat([condition, condition[-1:].expand(spare, *condition.shape[1:])])
            latents = backbone.denoise(noise, condition, **numbers)
            clips += list(backbone.decode(latents)[:, :n])
    return [resampled(clip, backbone.rate_hz, rate_hz) for clip in clips[: len(prompts)]]


@contextmanager
def _conditions(
    backbone: Backbone, prompts: list[str], adapter: Adapter | Combination | Sequence[Adapter] | None, strength: float
) -> Iterator[list[torch.Tensor]]:
    """A condition a prompt; meanwhile an adapter is applied, if it is one for all prompts.

    Below strength 1 the prompt's condition moves, too. With the adapter's words it is c(s), which at strength 0 differs
    from that of the class noun, c_noun: by the rare word, or by what one vector makes of a noun of two tokens. So
    (1 - s) (c_noun - c(0)) is added, and the unadapted model's clip of the class noun is reached without a jump. Where
    the prompts have different numbers of tokens, those that only one has fade with it (`waveform.faded`).
    """
    if isinstance(adapter, Sequence):
        yield _words_conditions(backbone, prompts, adapter, strength)
    elif adapter is None:
        yield _encoded(backbone, prompts)
    else:
        if strength < 1:
            with adapter.applied(backbone, 0):
                noun, words = (torch.stack(_encoded(backbone, each)) for each in (adapter.with_nouns(prompts), prompts))
        with adapter.applied(backbone, strength):
            rows = _encoded(backbone, prompts)
            if strength == 0:
                rows = list(noun)
            elif strength < 1:
                rows = list(backbone.between(torch.stack(rows) + (1 - strength) * (noun - words)))
            yield rows


def _encoded(backbone: Backbone, prompts: list[str]) -> list[torch.Tensor]:
    """A condition a prompt; each different prompt is encoded once."""
    unique = list(dict.fromkeys(prompts))
    rows = dict(zip(unique, backbone.embed_prompts(unique), strict=True))
    return [rows[prompt] for prompt in prompts]


def _words_conditions(
    backbone: Backbone, prompts: list[str], adapters: Sequence[Adapter], strength: float
) -> list[torch.Tensor]:
    """A condition a prompt, each with its adapter's new word."""
    if len(adapters) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts and {len(adapters)} adapters; give one adapter for each prompt.")
    if odd := [adapter.name for adapter in adapters if set(adapter.tensors) != {EMBEDDING}]:
        raise ValueError(
            f"{odd[0]}: changes the backbone's weights, so its clips cannot share a batch with another adapter's."
        )
    conditions: list = [None] * len(prompts)
    for adapter in {id(adapter): adapter for adapter in adapters}.values():
        places = [k for k, other in enumerate(adapters) if other is adapter]
        with _conditions(backbone, [prompts[k] for k in places], adapter, strength) as rows:
            for place, condition in zip(places, rows, strict=True):
                conditions[place] = condition
    return conditions


def planned_clips(profile: Profile, words: str, seed: int) -> pd.DataFrame:
    """The clips of one run: `reconstruction_clips` of that prompt, `clips_per_prompt` of each editability prompt.

    Returns
    -------
    columns file, prompt_id, kind, family, prompt, index, seed.
    """
    prompts = [reconstruction_prompt(), *editability_prompts(profile.n_editability_prompts)]
    return pd.DataFrame(
        {
            "file": f"{prompt.id}-{index}{CLIP_SUFFIX}",
            "prompt_id": prompt.id,
            "kind": prompt.kind,
            "family": prompt.family,
            "prompt": fill(prompt.template, words),
            "index": index,
            "seed": clip_seed(seed, prompt.id, index),
        }
        for prompt in prompts
        for index in range(profile.reconstruction_clips if prompt.kind == RECONSTRUCTION else profile.clips_per_prompt)
    )


@audio.overs_counted()
def generate_clips(
    backbone: Backbone,
    adapter: Adapter | None,
    concept: Concept,
    profile: Profile,
    seed: int,
    folder: Path,
    *,
    batch_size: int = BATCH,
    progress: bool = True,
) -> pd.DataFrame:
    """Write a run's clips and their manifest; undamaged clips of an earlier try are not made again.

    Parameters
    ----------
    adapter : None asks the untrained backbone for the class noun.
    folder : where the clips, `clips.csv` and their checksums go; the clips are on the disk before they are listed.

    Returns
    -------
    the manifest: `planned_clips` and duration_s, peak, level_lufs (of the clip as generated, before any lowering
    of a clip that exceeds full scale).

    Raises
    ------
    ValueError : the folder holds clips of other prompts or seeds.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    plan = planned_clips(profile, adapter.phrase(concept) if adapter else concept.class_noun, seed)
    done, files = _done(folder, plan)
    order = {file: k for k, file in enumerate(plan["file"])}
    todo = plan[~plan["file"].isin(done["file"])]
    with adapter.applied(backbone) if adapter else nullcontext():
        for first in tqdm(range(0, len(todo), batch_size), desc=f"{concept.name} clips", disable=not progress):
            part = todo.iloc[first : first + batch_size]
            clips = generate(
                backbone,
                list(part["prompt"]),
                list(part["seed"]),
                steps=profile.inference_steps,
                guidance_scale=profile.guidance_scale,
                clip_s=profile.clip_s,
                batch_size=batch_size,
                rate_hz=backbone.rate_hz,
                progress=False,
            )
            measured = part.assign(
                duration_s=[len(clip) / backbone.rate_hz for clip in clips],
                peak=[float(np.abs(clip).max()) for clip in clips],
                level_lufs=[loudness_lufs(clip, backbone.rate_hz) for clip in clips],
            )
            for file, clip in zip(part["file"], clips, strict=True):
                files.add((file_sha256(save_clip(folder / file, clip, backbone.rate_hz)), file))
            done = pd.concat([done, measured]) if len(done) else measured
            done = done.sort_values("file", key=lambda names: names.map(order))
            _write_manifest(folder, done, files)
    return done.reset_index(drop=True)


def _done(folder: Path, plan: pd.DataFrame) -> tuple[pd.DataFrame, set[tuple[str, str]]]:
    """Rows of an earlier manifest whose files are as they were written, and the (SHA-256, name) of each.

    A damaged manifest, or one without checksums, lists nothing, so that its clips are made again.

    Raises
    ------
    ValueError : the manifest is whole and of another plan.
    """
    path, checksums = folder / CLIPS_CSV, _read_checksums(folder)
    if not path.is_file() or (file_sha256(path), CLIPS_CSV) not in checksums:
        return pd.DataFrame({"file": []}), set()
    rows = pd.read_csv(path, float_precision="round_trip")
    same = rows[list(plan.columns)].merge(plan, how="left", indicator=True)["_merge"] == "both"
    if not same.all():
        odd = rows[~same.to_numpy()].iloc[0]
        raise ValueError(
            f'{path}: holds {odd["file"]} of prompt "{odd["prompt"]}", seed {odd["seed"]}, which this run does not '
            "ask for. Give this run another folder."
        )
    files = {(file_sha256(folder / file), file) for file in rows["file"] if (folder / file).is_file()} & checksums
    return rows[rows["file"].isin([file for _, file in files])], files


def _read_checksums(folder: Path) -> set[tuple[str, str]]:
    path = folder / CHECKSUMS
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return {(digest, file) for digest, _, file in (line.partition("  ") for line in text.splitlines())}


def _write_manifest(folder: Path, rows: pd.DataFrame, files: set[tuple[str, str]]) -> None:
    """Write `clips.csv` and then drop the earlier one's checksum: killed in between, either is known to be whole."""
    path, new = folder / CLIPS_CSV, rows.to_csv(index=False, lineterminator="\n").encode()
    earlier = {(file_sha256(path), CLIPS_CSV)} if path.is_file() else set()
    current = files | {(hashlib.sha256(new).hexdigest(), CLIPS_CSV)}
    _write_checksums(folder, current | earlier)
    write_bytes(path, new)
    _write_checksums(folder, current)


def _write_checksums(folder: Path, checksums: set[tuple[str, str]]) -> None:
    """Write `SHA256SUMS`, as `sha256sum --check` reads it."""
    rows = sorted(checksums, key=lambda row: row[::-1])
    write_text(folder / CHECKSUMS, "".join(f"{digest}  {file}\n" for digest, file in rows))
