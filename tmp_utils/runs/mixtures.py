"""Mixtures learned and judged: one run is one mixture in one setup with one seed.

Conventions: a run is `<runs_dir>/<profile>/mixtures/<mixture>/<method>-<setup>/seed<k>/` with the clips of each word,
`metrics.csv`, the new words (of TI) as adapters, and `run.json`. A finished run is not repeated; an interrupted one
keeps its words. The rows of `metrics.csv` have the columns `COLUMNS`; `sound` is a class noun, or `ALL` for the prompt
of all words. Clips of one sound start from the same noise in all setups, so that setups can be compared in pairs.

Besides the setups of `data/mixture_setups.csv` there are `REFERENCES` and, of the words learned apart, `TOGETHER`:

    untrained-class-noun   the class nouns in the words' place, and the masks of the frozen model
    reference-mixture      what the mixture itself scores, and no separation
    reference-stems        what the parts themselves score, and the ideal masks
    TI+TI, TI+DB, LoRA+LoRA   each word learned apart, from its own stem, and both used at once

Metrics: closeness, leakage, difference (`metrics.separation`) by both embedders; `clap_t` of editability prompts, the
word's class noun in its place; `si_sdr` and `mel_l1` of the masks under the words, when all are learned, whatever the
words were learned from; and `both` of the prompt of all words. Where the parts are not known there is only clap_t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from tmp_utils.files import slug, write_csv
from tmp_utils.inputs.audio import CLIP_SUFFIX, load_clip, overs_counted, save_clip
from tmp_utils.inputs.mixtures import Mixture, list_mixture_setups, load_mixture_setup
from tmp_utils.inputs.profiles import Profile, load_setup
from tmp_utils.inputs.prompts import editability_prompts, fill, reconstruction_prompt
from tmp_utils.metrics.table import REFERENCE, UNTRAINED
from tmp_utils.model.adapter import Adapter
from tmp_utils.model.combination import Combination, combine
from tmp_utils.model.generate import clip_seed, generate
from tmp_utils.personalize import load_adapter, personalise
from tmp_utils.personalize.mixtures import JOINED, RENEWALS, SHARE_OF_STEPS, learn_mixture, masks_under
from tmp_utils.personalize.separation import GUIDANCE, LEVELS, check_separable
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.identity import CLASS_NOUN, named, with_models
from tmp_utils.runs.lab import Lab
from tmp_utils.runs.mixture_scores import ALL, reference_rows, separation_rows, text_rows, word_rows
from tmp_utils.runs.place import Place

MIXTURES, METRICS, CLIPS = "mixtures", "metrics.csv", "clips"
FLOOR, OF_MIXTURE, OF_STEMS = f"{UNTRAINED}-{CLASS_NOUN}", f"{REFERENCE}-mixture", f"{REFERENCE}-stems"
REFERENCES = (FLOOR, OF_MIXTURE, OF_STEMS)
# Method and setup of each word, learned apart.
TOGETHER = {
    "TI+TI": (("TI", "MW"), ("TI", "MW")),
    "TI+DB": (("TI", "MW"), ("DB", "BL")),
    "LoRA+LoRA": (("DB-LoRA", "BL"), ("DB-LoRA", "BL")),
}
N_CLIPS, N_PROMPTS = 4, 5  # of each word: of its own prompt, and editability prompts, one of each family
COLUMNS = ["mixture", "kind", "method", "setup", "seed", "sound", "metric", "value", "n", "embedder"]


@dataclass(frozen=True)
class Learned:
    """What the clips of a mixture's words are generated with: the words, and what is applied, to clips of one word as
    well. New words leave each other as they are; updates of the weights change every word's clips."""

    words: Sequence[str]
    adapter: Adapter | Combination | None


def run_mixture(
    lab: Lab,
    mixture: Mixture,
    name: str,
    seed: int,
    *,
    share_of_steps: float = SHARE_OF_STEPS,
    n_clips: int = N_CLIPS,
    n_prompts: int = N_PROMPTS,
    within: str = MIXTURES,
    say: Callable = print,
) -> Path:
    """Learn the words of a mixture, generate with them and judge; or find that it is done.

    Parameters
    ----------
    name : one of `run_names`, such as "TI-PRIOR".
    share_of_steps : of the profile's steps.
    n_clips, n_prompts : clips of each word, and its editability prompts with a clip each.
    within : folder of the profile's runs.

    Raises
    ------
    ValueError
        If there is no such run, it needs the mixture's parts, which are not known, or the backbone gives no masks.
    """
    if name not in run_names():
        raise ValueError(f'"{name}" is not a run of mixtures; expected one of {", ".join(run_names())}.')
    if not mixture.parts and name in (OF_MIXTURE, OF_STEMS, *TOGETHER):
        raise ValueError(f"{mixture.name}: its parts are not known, and {name} is about them. Leave it out.")
    if mixture.parts and name not in (OF_MIXTURE, OF_STEMS):  # which have no predicted masks
        check_separable(lab.backbone)
    identity = _identity(lab, mixture, name, seed, share_of_steps, n_clips, n_prompts)
    folder = mixture_folder(lab.place, mixture.name, name, seed, within)
    with open_run(folder, identity, lab.backbone, say) as run:
        if run.done:
            return run.folder
        say(f"{mixture.name} {name}, seed {seed}: under way.")
        names = dict(zip(("method", "setup"), method_and_setup(name), strict=True))
        names |= {"mixture": mixture.name, "kind": mixture.kind, "seed": seed}
        if name in (OF_MIXTURE, OF_STEMS):
            rows = reference_rows(lab, mixture, name == OF_STEMS)
        else:
            with run.timed("training_s"):
                learned = _learn(lab, mixture, name, seed, share_of_steps, run.path)
            with run.timed("generation_s"):
                clips = _generate(lab, mixture, learned, seed, n_clips, n_prompts, run.path / CLIPS)
            with run.timed("scoring_s"):
                rows = text_rows(lab.embedder, mixture, clips)
                if mixture.parts:
                    masks = masks_under(lab.backbone, mixture, learned.words, seed, learned.adapter)
                    rows += word_rows(lab, mixture, clips) + separation_rows(mixture, masks)
        write_csv(run.path / METRICS, pd.DataFrame([names | row for row in rows], columns=COLUMNS))
        return run.finish()


@overs_counted()
def run_mixtures(
    lab: Lab, mixtures: Iterable[Mixture], names: Iterable[str], seeds: Iterable[int], **options
) -> pd.DataFrame:
    """Run every mixture in every setup with every seed; return their rows. `options` are those of `run_mixture`."""
    names, seeds = list(names), list(seeds)
    folders = [
        run_mixture(lab, mixture, name, seed, **options) for mixture in mixtures for name in names for seed in seeds
    ]
    return pd.concat([read_run_scores(folder) for folder in folders], ignore_index=True)


def mixture_folder(place: Place, mixture: str, name: str, seed: int, within: str = MIXTURES) -> Path:
    """Return the folder of a run."""
    return place.folder / within / slug(mixture) / slug(name) / f"seed{seed}"


def clip_path(folder: Path, sound: str, prompt_id: str = "reconstruction", k: int = 0) -> Path:
    """Return the file of clip `k` of a sound (a class noun, or `ALL`) and a prompt in a run's folder."""
    return folder / CLIPS / f"{slug(sound)}-{prompt_id}-{k}{CLIP_SUFFIX}"


def mixture_runs(place: Place) -> list[Path]:
    """Return the folders of all finished runs of mixtures, sorted."""
    return sorted(path.parent for path in (place.folder / MIXTURES).glob(f"*/*/seed*/{METRICS}"))


def mixtures_table(place: Place) -> pd.DataFrame:
    """Return the rows of all finished runs of mixtures; no rows where there is none."""
    folders = mixture_runs(place)
    return pd.concat(map(read_run_scores, folders), ignore_index=True) if folders else pd.DataFrame(columns=COLUMNS)


def read_run_scores(folder: Path) -> pd.DataFrame:
    """Return the rows of a finished run, to the last digit."""
    return pd.read_csv(folder / METRICS, float_precision="round_trip", keep_default_na=False)


def _identity(lab: Lab, mixture: Mixture, name: str, seed: int, share: float, n_clips: int, n_prompts: int) -> dict:
    profile, setup = lab.profile, {"name": name}
    if name in TOGETHER:
        setup |= {"hyperparameters": {method: named(profile, method) for method, _ in TOGETHER[name]}}
    elif name not in REFERENCES:
        row = load_mixture_setup(name)
        setup |= row.model_dump(exclude={"note"}) | {"hyperparameters": named(profile, row.method)}
    words = {"class_nouns": mixture.class_nouns, "rare_words": mixture.rare_words}
    masks = {"levels": list(LEVELS), "guidance": GUIDANCE, "renewals": RENEWALS}
    amounts = {"share_of_steps": share, "n_clips": n_clips, "n_prompts": n_prompts, "seed": seed}
    sampling = {key: getattr(profile, key) for key in ("guidance_scale", "inference_steps", "scheduler", "clip_s")}
    what = {"mixture": mixture.name, "clips": mixture.digest, "setup": setup, "masks": masks}
    return with_models(what | words | amounts | sampling, lab.embedder, lab.backbone)


def run_names() -> list[str]:
    """Return the names of all runs: untrained, the setups of `data/mixture_setups.csv`, `TOGETHER`, references."""
    return [FLOOR, *(setup.name for setup in list_mixture_setups()), *TOGETHER, OF_MIXTURE, OF_STEMS]


def method_and_setup(name: str) -> tuple[str, str]:
    """("TI", "PRIOR") of "TI-PRIOR", ("untrained", "class-noun"); of words learned apart ("TI+TI", "apart")."""
    if name in TOGETHER:
        return name, "apart"
    if name in REFERENCES:
        return tuple(name.split("-", 1))
    setup = load_mixture_setup(name)
    return setup.method, setup.setup


def _learn(lab: Lab, mixture: Mixture, name: str, seed: int, share: float, path: Path) -> Learned:
    """Learn, or take the new words that an interrupted run has kept."""
    nouns = mixture.class_nouns
    if name == FLOOR:
        return Learned(nouns, None)
    if name in TOGETHER:
        adapters = learn_apart(lab, mixture, name, seed, share)
        return Learned([adapter.words for adapter in adapters], combine(*adapters))
    setup, folders = load_mixture_setup(name), [path / f"word-{k}" for k in range(1, len(nouns) + 1)]
    if all((folder / "adapter.json").is_file() for folder in folders):
        adapters = [load_adapter(folder) for folder in folders]
    else:
        adapters = learn_mixture(lab.backbone, mixture, setup, seed, lab.profile, share_of_steps=share)
        for adapter, folder in zip(adapters, folders, strict=True):
            if adapter.placeholder:
                adapter.save(folder)
    applied = combine(*adapters) if adapters[0].placeholder else adapters[0]
    return Learned([adapter.words for adapter in adapters], applied)


def learn_apart(
    lab: Lab, mixture: Mixture, name: str, seed: int, share_of_steps: float = SHARE_OF_STEPS
) -> list[Adapter]:
    """Learn each part of a mixture by itself, from the concept that it is of; `name` is one of `TOGETHER`."""
    profile = _shortened(lab.profile, share_of_steps)
    pairs = zip(mixture.concepts, TOGETHER[name], strict=True)
    return [personalise(lab.backbone, of, load_setup(*setup), seed, profile=profile) for of, setup in pairs]


def _shortened(profile: Profile, share_of_steps: float) -> Profile:
    methods = {name: {**m, "steps": ceil(share_of_steps * m["steps"])} for name, m in profile.methods.items()}
    return replace(profile, methods=methods)


def _generate(
    lab: Lab, mixture: Mixture, learned: Learned, seed: int, n_clips: int, n_prompts: int, folder: Path
) -> dict[str, dict[str, list[np.ndarray]]]:
    """Clips by sound and prompt; they are written, too, and scored as they are read again."""
    one, profile = reconstruction_prompt(), lab.profile
    edits = editability_prompts(n_prompts) if n_prompts else []
    options = {"steps": profile.inference_steps, "guidance_scale": profile.guidance_scale, "clip_s": profile.clip_s}
    clips: dict[str, dict[str, list]] = {}
    folder.mkdir(exist_ok=True)
    sounds = [*zip(mixture.class_nouns, learned.words, strict=True)]
    planned = [
        (sound, words, one, k) for sound, words in [*sounds, (ALL, JOINED.join(learned.words))] for k in range(n_clips)
    ]
    planned += [(sound, words, prompt, 0) for sound, words in sounds for prompt in edits]
    prompts = [fill(prompt.template, words) for _, words, prompt, _ in planned]
    seeds = [clip_seed(seed, prompt.id, k) for _, _, prompt, k in planned]
    made = generate(lab.backbone, prompts, seeds, adapter=learned.adapter, progress=False, **options)
    for (sound, _, prompt, k), clip in zip(planned, made, strict=True):
        path = save_clip(clip_path(folder.parent, sound, prompt.id, k), clip)
        clips.setdefault(sound, {}).setdefault(prompt.id, []).append(load_clip(path))
    return clips
