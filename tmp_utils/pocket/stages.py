"""``python -m tmp_utils pocket STAGE ...``: make the pocket model, or one part of it; without a stage, all in order.

Conventions: each stage writes below one build folder (``runs/pocket-build``); a stage whose results are there is not
repeated. An interrupted training is resumed; an interrupted corpus or array is made from its start. Docstrings name the
stages that must be finished before. Sizes and steps are in ``Budget``.
"""

import argparse
import functools
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from tmp_utils.files import write_csv, write_text
from tmp_utils.inputs.concepts import Concept, list_concepts, load_clips, load_concept
from tmp_utils.inputs.profiles import DATA_DIR, load_profile
from tmp_utils.metrics.copies import copy_test_power, planted_copies
from tmp_utils.metrics.embed import load_embedder
from tmp_utils.model.backbone import load_backbone
from tmp_utils.model.transfer import round_trip
from tmp_utils.pocket import architecture, assemble, clap, codec, proof, spectrum, unet, vae, vocoder
from tmp_utils.pocket.corpus import HOLDOUT_OFFSET, Corpus, render_corpus
from tmp_utils.pocket.training import run_stage

CLAP_SECOND_LR = 5e-4
N_CALIBRATION_CLIPS = 64


@dataclass(frozen=True)
class Budget:
    """Seed, clips and steps of a new training; for those of the shipped weights see ``data/pocket/README.md``.

    Attributes
    ----------
    n_clips, n_judge_clips, n_clap_clips, n_held_out : clips of 10.24 s in the corpus, for the judge alone, for the
        conditioning CLAP alone, and held out from all training.
    n_spectrum_clips : clips of the corpus, at random levels and speeds, for the spectrum vocoder.
    n_subjects : subjects per prompt in the proof.
    """

    seed: int = 0
    n_clips: int = 8000
    n_judge_clips: int = 4000
    n_clap_clips: int = 4000
    n_held_out: int = 400
    clap_steps: int = 600
    clap_second_steps: int = 900
    judge_steps: int = 1200
    judge_second_steps: int = 900
    vae_steps: int = 2000
    unet_steps: int = 1200
    unet_second_steps: int = 1000
    vocoder_steps: int = 600
    n_spectrum_clips: int = 4800
    spectrum_steps: int = 12000
    n_subjects: int = 10


def make_corpus(build: Path, budget: Budget) -> tuple[Corpus, Corpus]:
    """Render the training and the held-out clips (needs FluidSynth and FluidR3)."""
    held_out = render_corpus(build / "corpus" / "holdout", budget.n_held_out, budget.seed, HOLDOUT_OFFSET)
    first, after_judge = budget.n_clips, budget.n_clips + budget.n_judge_clips  # only one CLAP is trained on these
    render_corpus(build / "corpus" / "judge", budget.n_judge_clips, budget.seed, first)
    render_corpus(build / "corpus" / "clap", budget.n_clap_clips, budget.seed, after_judge)
    return render_corpus(build / "corpus" / "train", budget.n_clips, budget.seed), held_out


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


def _captioned(build: Path, name: str) -> tuple[list[str], np.ndarray]:
    """Captions and CLAP features of a corpus."""
    corpus = Corpus.open(build / "corpus" / name)
    return corpus.table.caption.tolist(), clap.features(corpus, build / "features" / name)


def _train_clap(build: Path, name: str, shared: slice, n_steps: int, n_second_steps: int, seed: int, held_out):
    """Train a CLAP on its half of the corpus, then also on its extra clips."""
    captions, features = _captioned(build, "train")
    half = captions[shared], features[shared]
    stage = clap.ClapStage(name, _tokenizer(build), half, held_out, seed)
    run_stage(stage, build / name, n_steps, seed)
    extra = _captioned(build, name)
    both = half[0] + extra[0], np.concatenate([half[1], extra[1]])
    second = f"{name}-2"
    stage = clap.ClapStage(second, _tokenizer(build), both, held_out, seed + 10, CLAP_SECOND_LR, stage.model)
    run_stage(stage, build / second, n_second_steps, seed + 10)
    return stage.model.eval()


def train_clap(build: Path, budget: Budget):
    """Train the conditioning CLAP, on the first half of the corpus and its extra clips; needs the corpus."""
    half, steps = slice(budget.n_clips // 2), (budget.clap_steps, budget.clap_second_steps)
    return _train_clap(build, "clap", half, *steps, budget.seed, _captioned(build, "holdout"))


def train_judge(build: Path, budget: Budget):
    """Train the judge, with another seed, on the second half of the corpus and its extra clips; needs the corpus.

    The conditioning CLAP is trained on none of these clips.
    """
    half, steps = slice(budget.n_clips // 2, None), (budget.judge_steps, budget.judge_second_steps)
    return _train_clap(build, "judge", half, *steps, budget.seed + 1, _captioned(build, "holdout"))


def _mels(build: Path):
    return tuple(
        vae.mels(corpus, build / "mels" / name)
        for corpus, name in zip(_corpora(build), ("train", "holdout"), strict=True)
    )


def train_vae(build: Path, budget: Budget):
    """Train the VAE; needs the corpus."""
    stage = vae.VaeStage(*_mels(build), budget.seed)
    run_stage(stage, build / "vae", budget.vae_steps, budget.seed)
    return stage.vae.eval()


def _latents(build: Path, budget: Budget) -> list[np.ndarray]:
    """Latent moments of the training and the held-out clips, computed once."""
    trained = train_vae(build, budget)
    named = zip(_mels(build), ("train", "holdout"), strict=True)
    return [vae.moments(trained, mels, build / "latents" / name) for mels, name in named]


def _embeddings(build: Path, budget: Budget) -> dict[str, torch.Tensor]:
    """CLAP embeddings of clips and captions, computed once: audio, text, null, held_text."""
    cache = build / "clap" / "embeddings.safetensors"
    if not cache.exists():
        model, tokenizer = train_clap(build, budget), _tokenizer(build)
        train, held_out = _corpora(build)
        audio = clap.embed_features(model, clap.features(train, build / "features" / "train"))
        captions = {"text": train.table.caption.tolist(), "null": [""], "held_text": held_out.table.caption.tolist()}
        text = {name: clap.embed_captions(model, tokenizer, texts) for name, texts in captions.items()}
        save_file({"audio": audio, **text}, cache)
    return load_file(cache)


def train_unet(build: Path, budget: Budget):
    """Train the denoiser; needs the conditioning CLAP and the VAE. Returns the averaged weights."""
    moments, held_moments = _latents(build, budget)
    inputs = {"moments": moments, "held_moments": held_moments, "scale": vae.latent_scale(moments)}
    inputs |= _embeddings(build, budget)
    stage = unet.DenoiserStage(**inputs, seed=budget.seed)
    run_stage(stage, build / "unet", budget.unet_steps, budget.seed)
    stage = unet.DenoiserStage(**inputs, seed=budget.seed + 1, first_pass=stage.average)
    run_stage(stage, build / "unet-2", budget.unet_second_steps, budget.seed + 1)
    return stage.average.eval()


def train_vocoder(build: Path, budget: Budget):
    """Train the vocoder; needs the corpus."""
    stage = vocoder.VocoderStage(*_corpora(build), budget.seed)
    run_stage(stage, build / "vocoder", budget.vocoder_steps, budget.seed)
    return stage.vocoder.eval()


def train_spectrum(build: Path, budget: Budget):
    """Train the network of the spectrum vocoder; needs the VAE. Returns the averaged weights, calibrated."""
    trained_vae, (train, held_out) = train_vae(build, budget), _corpora(build)
    pairs = [
        spectrum.training_pairs(corpus, trained_vae, n, seed, build / "spectrum-pairs" / name)
        for name, corpus, n, seed in (
            ("train", train, budget.n_spectrum_clips, budget.seed),
            ("holdout", held_out, len(held_out.table), None),
        )
    ]
    stage = spectrum.SpectrumStage(*pairs, budget.seed)
    run_stage(stage, build / "spectrum", budget.spectrum_steps, budget.seed)
    net = stage.average.eval()
    spectrum.calibrate_level(net, trained_vae, np.stack([train.clip(k) for k in range(N_CALIBRATION_CLIPS)]))
    return net


def curves(build: Path) -> pd.DataFrame:
    """The validation curves of all stages: stage, step, minutes, measure, value."""
    tables = []
    for name in ("clap", "clap-2", "judge", "judge-2", "vae", "unet", "unet-2", "vocoder", "spectrum"):
        table = pd.read_csv(build / name / "curve.csv").dropna()
        measures = [column for column in table if column.startswith("val_")]
        long = table.melt(["step", "seconds"], measures, "measure").assign(stage=name)
        tables.append(long.assign(measure=long.measure.str.removeprefix("val_"), minutes=long.seconds / 60))
    return pd.concat(tables)[["stage", "step", "minutes", "measure", "value"]].round(4)


def write_pocket(build: Path, budget: Budget) -> Path:
    """Put the trained parts into ``data/pocket``; needs every stage before this one."""
    held_out = _corpora(build)[1]
    rows = range(0, budget.n_held_out, budget.n_held_out // assemble.COMPARED_CLIPS)
    folder = assemble.assemble(
        DATA_DIR / "pocket",
        tokenizer=_tokenizer(build),
        clap_model=train_clap(build, budget),
        judge=train_judge(build, budget),
        vae=train_vae(build, budget),
        scale=vae.latent_scale(_latents(build, budget)[0]),
        unet=train_unet(build, budget),
        vocoder=train_vocoder(build, budget),
        spectrum=train_spectrum(build, budget),
        clips=np.stack([held_out.clip(k) for k in rows]),
    )
    write_csv(folder / "curves.csv", curves(build))
    return folder


def write_proof(build: Path, budget: Budget) -> pd.DataFrame:
    """Measure the assembled model on the held-out clips; writes ``proof.csv`` and ``README.md`` beside it."""
    folder, profile = DATA_DIR / "pocket", load_profile("pocket")
    options = {"n_subjects": budget.n_subjects, "steps": profile.inference_steps, "guidance": profile.guidance_scale}
    backbone, judge = load_backbone(profile), load_embedder(profile.embedder)
    table = proof.prove(backbone, judge, _corpora(build)[1], **options, log=functools.partial(print, flush=True))
    write_csv(folder / "proof.csv", table)
    settings = asdict(budget) | options | {"backbone": backbone.hash[:12], "judge": judge.name}
    report = folder / "README.md"
    goals = codec.goals_table(table, pd.read_csv(folder / "codec.csv"))
    write_text(report, proof.proof_report(table, goals, settings, report.read_text(encoding="utf-8")))
    return table


def _measured_concepts() -> dict[str, list[Concept]]:
    shipped = [load_concept(name) for name in list_concepts()]
    return {
        codec.OF_STAND_INS: [concept for concept in shipped if concept.name in codec.STAND_INS],
        codec.OF_RECORDINGS: [concept for concept in shipped if not concept.stand_in],
    }


def write_codec(build: Path, budget: Budget) -> pd.DataFrame:
    """Measure what the shipped codec keeps of the concepts' own clips; needs no other stage. Writes ``codec.csv``."""
    backbone, log = load_backbone(load_profile("pocket")), functools.partial(print, flush=True)
    measured = _measured_concepts().items()
    tables = [codec.codec_table(backbone, concepts, log=log).assign(clips=name) for name, concepts in measured]
    table = pd.concat(tables, ignore_index=True)
    write_csv(DATA_DIR / "pocket" / "codec.csv", table)
    return table


def write_copies(build: Path, budget: Budget) -> pd.DataFrame:
    """Measure how many copies the copy test finds after the shipped codec; no other stage. Writes ``copies.csv``."""
    coder = functools.partial(round_trip, load_backbone(load_profile("pocket")))
    tables = []
    for name, concepts in _measured_concepts().items():
        planted = (
            (clips, [coder(clip) for clip in clips], planted_copies(clips, coder, harder=True))
            for clips in map(load_clips, concepts)
        )
        tables.append(copy_test_power(planted).reset_index().assign(clips=name))
        print(tables[-1].round(2).to_string(), flush=True)
    table = pd.concat(tables, ignore_index=True)
    write_csv(DATA_DIR / "pocket" / "copies.csv", table)
    return table


STAGES = {
    "corpus": make_corpus,
    "clap": train_clap,
    "judge": train_judge,
    "vae": train_vae,
    "unet": train_unet,
    "vocoder": train_vocoder,
    "spectrum": train_spectrum,
    "assemble": write_pocket,
    "proof": write_proof,
    "codec": write_codec,
    "copies": write_copies,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)} (default: all)")
    parser.add_argument("--build", type=Path, default=Path("runs/pocket-build"), help="where the parts are made")


def main(options: argparse.Namespace) -> None:
    """Run the stages that are named."""
    for name in options.stages or STAGES:
        if name not in STAGES:
            raise ValueError(f"unknown stage {name!r}; expected one of {', '.join(STAGES)}.")
        print(f"== {name}", flush=True)
        STAGES[name](options.build, Budget())
