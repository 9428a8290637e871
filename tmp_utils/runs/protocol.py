"""One run of the study: learn a concept in one setup, generate its clips, score them, keep it all.

Conventions: a run is a folder of ``runs``; it holds the adapter, ``history.csv``, ``clips/`` with ``clips.csv``,
``metrics.csv`` and ``run.json``. What was finished is not done again; what was interrupted goes on from its last
checkpoint and its last clip. The *reference* of a concept is the untrained backbone asked for the class noun: its
CLAP-T is the text ceiling, its CLAP-A what the class noun alone gives (paper, section 4).

Lab         : what every run of a profile shares: the backbone, the embedder, where runs are kept.
run_settings  : what decides a run, as its manifest keeps it.
run_setup     : concept + setup + seed -> finished folder.
run_reference : concept + seed -> finished folder of the untrained backbone, and the references' rows.
run_setups    : several setups of one concept, and its reference; their rows in one table.
run_costs     : what the adapters of a concept's runs cost to train and to keep.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tmp_utils.files import slug
from tmp_utils.inputs import concepts, prompts
from tmp_utils.inputs.audio import overs_counted
from tmp_utils.inputs.concepts import Concept, own_folder
from tmp_utils.inputs.profiles import Profile, Setup, load_profile
from tmp_utils.metrics.embed import Embedder, load_embedder
from tmp_utils.metrics.table import UNTRAINED, read_table, score_references
from tmp_utils.model.adapter import write_adapter
from tmp_utils.model.backbone import Backbone, load_backbone
from tmp_utils.model.generate import generate_clips
from tmp_utils.personalize import Adapter, Diverged, load_adapter, personalise, prepare, train
from tmp_utils.runs import folder as runs
from tmp_utils.runs.identity import CLASS_NOUN, settings_of
from tmp_utils.runs.score import score_run

METRICS, HISTORY, COST, CLIPS, CHECKPOINTS = "metrics.csv", "history.csv", "cost.json", "clips", "checkpoints"
LEARNED = ("adapter.safetensors", "adapter.json", HISTORY, COST)
CACHE = ".cache"


@dataclass(eq=False)
class Lab:
    """What all runs of a profile share: backbone, embedder and place; load it once.

    Attributes
    ----------
    profile : Profile
    backbone : Backbone
    embedder : Embedder
        Scores the clips; never the CLAP that conditions the pocket backbone.
    runs_dir : Path
    """

    profile: Profile
    backbone: Backbone
    embedder: Embedder
    runs_dir: Path

    @classmethod
    def load(cls, profile: str | Profile, runs_dir: str | Path = "runs", device: str | None = None) -> Lab:
        """Load the backbone and the embedder of a profile, named or made by hand."""
        profile = load_profile(profile) if isinstance(profile, str) else profile
        folder = runs.resolve_runs_dir(runs_dir)
        backbone = load_backbone(profile, device)
        cache = folder / profile.name / CACHE
        embedder = load_embedder(profile.embedder, str(backbone.device), cache / "embeddings")
        return cls(profile, backbone, embedder, folder)

    @property
    def folder(self) -> Path:
        """Everything that this profile writes."""
        return self.runs_dir / self.profile.name

    @property
    def cache_dir(self) -> Path:
        """Where embeddings and class clips are kept between runs."""
        return self.folder / CACHE

    def figures_dir(self, concept: Concept) -> Path:
        """Where the figures of a concept go."""
        return self.folder / "figures" / slug(concept.name)

    def run_folder(self, concept: Concept, setup: Setup, seed: int) -> Path:
        """Where the run of a concept, setup and seed is kept."""
        return runs.run_folder(self.runs_dir, self.profile.name, concept.name, setup.method, setup.setup, seed)


def run_setup(lab: Lab, concept: Concept, setup: Setup, seed: int, say: Callable = print) -> Path:
    """Learn, generate and score; or find that it is done.

    Parameters
    ----------
    lab : Lab
    concept : Concept
    setup : Setup
        A row of ``data/setups.csv``.
    seed : int
        Of training and of generation.
    say : callable
        Told what was found already, and what is begun.

    Returns
    -------
    pathlib.Path
        The finished run.
    """
    with _open(lab, concept, setup, seed, say) as run:
        return _finish(lab, run, concept, setup, seed, say)


def run_settings(lab: Lab, concept: Concept, setup: Setup | None, seed: int) -> dict:
    """Return what a run's manifest keeps of what decided it; of the reference where there is no setup."""
    return settings_of(lab.profile, concept, seed, setup) | {"embedder": lab.embedder.name}


def _open(lab: Lab, concept: Concept, setup: Setup, seed: int, say: Callable) -> runs.RunFolder:
    return runs.open_run(
        lab.run_folder(concept, setup, seed),
        run_settings(lab, concept, setup, seed),
        lab.backbone,
        say,
        own_folder(concept),
    )


def _finish(lab: Lab, run: runs.RunFolder, concept: Concept, setup: Setup, seed: int, say: Callable) -> Path:
    if run.done:
        return run.folder
    say(f"{concept.name} {setup.name}, seed {seed}: under way.")
    if not _has_learned(run):
        with run.timed("training_s"):
            adapter = personalise(
                lab.backbone,
                concept,
                setup,
                seed,
                profile=lab.profile,
                checkpoint_dir=run.path / CHECKPOINTS,
                cache_dir=lab.cache_dir,
            )
            _keep(run, adapter.halved(lab.backbone))
    _generate_and_score(lab, run, load_adapter(run.path), concept, (setup.method, setup.setup), seed)
    shutil.rmtree(run.path / CHECKPOINTS, ignore_errors=True)  # they may be gone already, if it was stopped here before
    return run.finish()


def _keep(run: runs.RunFolder, adapter: Adapter) -> None:
    """Write what a run has learned, its cost last: where there is a cost there is nothing left to learn."""
    write_adapter(adapter, run.path)
    runs.write_csv(run.path / HISTORY, pd.DataFrame(adapter.history))
    runs.write_json(run.path / COST, adapter.cost)
    run.keep(*LEARNED)


def _has_learned(run: runs.RunFolder) -> bool:
    """Whether a run has all that its training leaves, as it was written."""
    return set(LEARNED) <= set(run.files)


def run_reference(lab: Lab, concept: Concept, seed: int, say: Callable = print) -> Path:
    """Ask the untrained backbone for the class noun; score it, and the concept's own clips, as references."""
    folder = runs.run_folder(lab.runs_dir, lab.profile.name, concept.name, UNTRAINED, CLASS_NOUN, seed)
    settings = run_settings(lab, concept, None, seed)
    with runs.open_run(folder, settings, lab.backbone, say, own_folder(concept)) as run:
        if run.done:
            return run.folder
        rows = _generate_and_score(lab, run, None, concept, (UNTRAINED, CLASS_NOUN), seed)
        embedded = lab.embedder.embed_clips(concepts.load_clips(concept))
        asked = lab.embedder.embed_prompts(list(_texts(lab, concept).values()))
        own = score_references(embedded, asked, _identity(lab, concept, UNTRAINED, CLASS_NOUN, seed), lab.embedder.name)
        runs.write_csv(run.path / METRICS, pd.concat([rows, own], ignore_index=True))
        return run.finish()


@overs_counted()
def run_setups(
    lab: Lab,
    concept: Concept,
    setups: Iterable[Setup],
    seeds: Iterable[int],
    together: int = 1,
    say: Callable = print,
) -> pd.DataFrame:
    """Run several setups, and the untrained reference, for several seeds; return their rows.

    Parameters
    ----------
    together : how many new words (setups and seeds of Textual Inversion) learn in one batch, as `loop.train` has it:
        worth its memory on a GPU that one word does not fill. Their clips are generated and scored one by one.
    """
    seeds = list(dict.fromkeys(seeds))
    asked = [(setup, seed) for seed in seeds for setup in dict.fromkeys(setups)]
    folders = [run_reference(lab, concept, seed, say) for seed in seeds]
    if together == 1:
        folders += [run_setup(lab, concept, setup, seed, say) for setup, seed in asked]
    else:
        folders += _run_together(lab, concept, asked, together, say)
    return pd.concat([read_table(folder / METRICS) for folder in folders], ignore_index=True)


def _run_together(lab: Lab, concept: Concept, asked: list[tuple], together: int, say: Callable) -> list[Path]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(_open(lab, concept, setup, seed, say)) for setup, seed in asked]
        parts = [(run, *which) for run, which in zip(opened, asked, strict=True)]
        diverged = _learn_together(lab, concept, parts, together)
        folders = [
            _finish(lab, run, concept, setup, seed, say)
            for run, setup, seed in parts
            if not diverged or run.done or _has_learned(run)
        ]
        if diverged:
            raise diverged
        return folders


def _learn_together(lab: Lab, concept: Concept, parts: list[tuple], together: int) -> Diverged | None:
    """Bring all runs to the end of their training; returns what one that diverged said, when the others are done."""
    new = [part for part in parts if not part[0].done and not _has_learned(part[0])]
    if not new:
        return None
    diverged, adapters, began = None, [], time.monotonic()
    try:
        trainings = [
            prepare(lab.backbone, concept, setup, seed, lab.profile, checkpoint_dir=run.path / CHECKPOINTS)
            for run, setup, seed in new
        ]
        adapters = train(lab.backbone, trainings, together=together)
    except Diverged as error:
        diverged, adapters = error, error.finished
    finally:
        share_s = (time.monotonic() - began) / len(new)
        for run, *_ in new:
            run.took("training_s", share_s)
    for (run, *_), adapter in zip(new, adapters, strict=True):
        if adapter is not None:
            _keep(run, adapter.halved(lab.backbone))
    return diverged


def run_costs(runs_dir: str | Path, profile: str, concept: str, seed: int) -> pd.DataFrame:
    """What the finished runs of a concept cost.

    Returns
    -------
    pandas.DataFrame
        Index: method-setup; trainable_parameters, adapter_mb, seconds_per_step, peak_memory_mb (None on a CPU),
        training_s, generation_s, scoring_s.
    """
    rows = {}
    for folder in runs.find_runs(runs_dir, profile):
        manifest = runs.read_manifest(folder)
        asked = manifest["parameters"]
        if asked["concept"] == concept and asked["seed"] == seed and (folder / COST).exists():
            weights = folder / "adapter.safetensors"  # which a grid with KEEP=clips deletes
            size_mb = weights.stat().st_size / 1e6 if weights.exists() else None
            cost = json.loads((folder / COST).read_text(encoding="utf-8"))
            times = {name: manifest["timings"].get(name) for name in ("training_s", "generation_s", "scoring_s")}
            rows[f"{asked['method']}-{asked['setup']}"] = {**cost, "adapter_mb": size_mb, **times}
    return pd.DataFrame(rows).T.infer_objects()


def _identity(lab: Lab, concept: Concept, method: str, setup: str, seed: int) -> dict:
    names = {"profile": lab.profile.name, "concept": concept.name}
    return names | {"method": method, "setup": setup, "seed": seed}


def _texts(lab: Lab, concept: Concept) -> dict[str, str]:
    """Editability prompts with the class noun in the placeholder's place, as CLAP-T compares them."""
    asked = prompts.editability_prompts(lab.profile.n_editability_prompts)
    return {prompt.id: prompts.fill(prompt.template, concept.class_noun) for prompt in asked}


def _generate_and_score(lab, run, adapter, concept, names, seed) -> pd.DataFrame:
    with run.timed("generation_s"):
        manifest = generate_clips(lab.backbone, adapter, concept, lab.profile, seed, run.path / CLIPS)
    with run.timed("scoring_s"):
        rows = score_run(
            manifest,
            run.path / CLIPS,
            concepts.load_clips(concept),
            lab.embedder,
            _texts(lab, concept),
            _identity(lab, concept, *names, seed),
            tempo=bool(concept.tempo_constant),
            harmony=bool(concept.harmonic),
            seed=seed,
        )
        runs.write_csv(run.path / METRICS, rows)
    return rows
