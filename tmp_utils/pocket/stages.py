"""The stages that make ``data/pocket``, in order: corpus, clap, judge, vae, unet, vocoder, assemble.

Conventions: everything a stage makes lies under one build folder (``runs/pocket-build``), so a stage that is done is
found there and not repeated; each needs those named in its docstring. Sizes and steps are in ``Recipe``.

Recipe  : how much of everything, and the seed.
STAGES  : name -> function of (build folder, recipe).
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tmp_utils.backbone import load_backbone
from tmp_utils.embed import load_embedder
from tmp_utils.files import write_csv
from tmp_utils.pocket import architecture, assemble, clap, proof, unet, vae, vocoder
from tmp_utils.pocket.corpus import HOLDOUT_OFFSET, Corpus, render_corpus
from tmp_utils.pocket.training import run_stage
from tmp_utils.profiles import DATA_DIR, load_profile


@dataclass(frozen=True)
class Recipe:
    """What the shipped weights were made with.

    Attributes
    ----------
    seed : int
    n_clips, n_held_out : int
        Clips of 10.24 s in the corpus and beside it.
    clap_steps, judge_steps, vae_steps, unet_steps, vocoder_steps : int
    n_subjects : int
        For which each prompt is asked in the proof.
    """

    seed: int = 0
    n_clips: int = 8000
    n_held_out: int = 400
    clap_steps: int = 600
    judge_steps: int = 1200
    vae_steps: int = 2000
    unet_steps: int = 1200
    vocoder_steps: int = 600
    n_subjects: int = 12


def make_corpus(build: Path, recipe: Recipe) -> tuple[Corpus, Corpus]:
    """Render the training and the held-out clips (needs FluidSynth and FluidR3)."""
    held_out = render_corpus(build / "corpus" / "holdout", recipe.n_held_out, recipe.seed, HOLDOUT_OFFSET)
    return render_corpus(build / "corpus" / "train", recipe.n_clips, recipe.seed), held_out


@functools.cache
def _tokenizer(build: Path):
    from transformers import RobertaTokenizerFast

    folder = build / "tokenizer"
    if not folder.exists():
        captions = Corpus.open(build / "corpus" / "train").table.caption.tolist()
        architecture.train_tokenizer(captions).save_pretrained(folder)
    return RobertaTokenizerFast.from_pretrained(folder)


def _corpora(build: Path) -> tuple[Corpus, Corpus]:
    return Corpus.open(build / "corpus" / "train"), Corpus.open(build / "corpus" / "holdout")


def _clap_stage(name: str, build: Path, recipe: Recipe) -> clap.ClapStage:
    """The conditioning CLAP learns from the first half of the corpus, the judge from the second, with another seed."""
    train, held_out = _corpora(build)
    half = recipe.n_clips // 2
    rows, seed = (range(half), recipe.seed) if name == "clap" else (range(half, recipe.n_clips), recipe.seed + 1)
    return clap.ClapStage(
        name,
        _tokenizer(build),
        train,
        clap.features(train, build / "features" / "train.npy"),
        rows,
        held_out,
        clap.features(held_out, build / "features" / "holdout.npy"),
        seed,
    )


def train_clap(name: str, build: Path, recipe: Recipe):
    """Train the conditioning CLAP (``"clap"``) or the judge (``"judge"``); needs the corpus."""
    stage = _clap_stage(name, build, recipe)
    n_steps = recipe.clap_steps if name == "clap" else recipe.judge_steps
    run_stage(stage, build / name, n_steps, seed=recipe.seed + (name == "judge"))
    return stage.model.eval()


def _mels(build: Path):
    return tuple(
        vae.mels(corpus, build / "mels" / f"{name}.npy")
        for corpus, name in zip(_corpora(build), ("train", "holdout"), strict=True)
    )


def train_vae(build: Path, recipe: Recipe):
    """Train the VAE; needs the corpus."""
    stage = vae.VaeStage(*_mels(build), recipe.seed)
    run_stage(stage, build / "vae", recipe.vae_steps, recipe.seed)
    return stage.vae.eval()


def denoiser_inputs(build: Path, recipe: Recipe) -> dict:
    """What the denoiser learns from: cached latents, their scale, and CLAP embeddings of clips and captions."""
    model, trained_vae, tokenizer = (
        train_clap("clap", build, recipe),
        train_vae(build, recipe),
        _tokenizer(build),
    )
    moments = [
        vae.moments(trained_vae, mels, build / "latents" / f"{name}.npy")
        for mels, name in zip(_mels(build), ("train", "holdout"), strict=True)
    ]
    train, held_out = _corpora(build)
    cache = build / "clap" / "audio_embeddings.pt"
    if not cache.exists():
        torch.save(clap.embed_features(model, clap.features(train, build / "features" / "train.npy")), cache)
    return {
        "moments": moments[0],
        "scale": vae.latent_scale(moments[0]),
        "audio": torch.load(cache, weights_only=True),
        "text": clap.embed_captions(model, tokenizer, train.table.caption.tolist()),
        "null": clap.embed_captions(model, tokenizer, [""]),
        "held_moments": moments[1],
        "held_text": clap.embed_captions(model, tokenizer, held_out.table.caption.tolist()),
    }


def train_unet(build: Path, recipe: Recipe):
    """Train the denoiser; needs the conditioning CLAP and the VAE. Returns the averaged weights."""
    stage = unet.DenoiserStage(**denoiser_inputs(build, recipe), seed=recipe.seed)
    run_stage(stage, build / "unet", recipe.unet_steps, recipe.seed)
    return stage.average.eval()


def train_vocoder(build: Path, recipe: Recipe):
    """Train the vocoder; needs the corpus."""
    stage = vocoder.VocoderStage(*_corpora(build), recipe.seed)
    run_stage(stage, build / "vocoder", recipe.vocoder_steps, recipe.seed)
    return stage.vocoder.eval()


def curves(build: Path) -> pd.DataFrame:
    """The validation curves of all stages: stage, step, minutes, measure, value."""
    tables = []
    for name in ("clap", "judge", "vae", "unet", "vocoder"):
        table = pd.read_csv(build / name / "curve.csv").dropna()
        measures = [column for column in table if column.startswith("val_")]
        long = table.melt(["step", "seconds"], measures, "measure").assign(stage=name)
        tables.append(long.assign(measure=long.measure.str.removeprefix("val_"), minutes=long.seconds / 60))
    return pd.concat(tables)[["stage", "step", "minutes", "measure", "value"]].round(4)


def write_pocket(build: Path, recipe: Recipe) -> Path:
    """Put the trained parts into ``data/pocket``; needs every stage before."""
    held_out = _corpora(build)[1]
    rows = range(0, recipe.n_held_out, recipe.n_held_out // assemble.COMPARED_CLIPS)
    folder = assemble.assemble(
        DATA_DIR / "pocket",
        tokenizer=_tokenizer(build),
        clap_model=train_clap("clap", build, recipe),
        judge=train_clap("judge", build, recipe),
        vae=train_vae(build, recipe),
        scale=denoiser_inputs(build, recipe)["scale"],
        unet=train_unet(build, recipe),
        vocoder=train_vocoder(build, recipe),
        clips=np.stack([held_out.clip(k) for k in rows]),
    )
    write_csv(folder / "curves.csv", curves(build))
    return folder


def write_proof(build: Path, recipe: Recipe) -> pd.DataFrame:
    """Measure the assembled model on the held-out clips; writes ``proof.csv`` and ``README.md`` beside it."""
    folder, profile = DATA_DIR / "pocket", load_profile("pocket")
    options = {"n_subjects": recipe.n_subjects, "steps": profile.inference_steps, "guidance": profile.guidance_scale}
    backbone, judge = load_backbone(profile), load_embedder(profile.embedder)
    table, _ = proof.prove(backbone, judge, _corpora(build)[1], **options, log=functools.partial(print, flush=True))
    write_csv(folder / "proof.csv", table)
    settings = asdict(recipe) | options | {"backbone": backbone.hash[:12], "judge": judge.name}
    (folder / "README.md").write_text(proof.proof_report(table, settings), encoding="utf-8")
    return table


STAGES = {
    "corpus": make_corpus,
    "clap": functools.partial(train_clap, "clap"),
    "judge": functools.partial(train_clap, "judge"),
    "vae": train_vae,
    "unet": train_unet,
    "vocoder": train_vocoder,
    "assemble": write_pocket,
    "proof": write_proof,
}
