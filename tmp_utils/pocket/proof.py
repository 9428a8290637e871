"""Quality of the finished pocket model on held-out clips, scored by the judge (the CLAP that did not condition it).

Conventions: every number is a row (measure, family, value, n, ci_low, ci_high, judge). A *family* is one editability
prompt. Clips are generated from that prompt for subjects drawn from the distribution of the corpus. A clip is *right*
when the judge ranks its prompt first among the 20 prompts for the same subject (chance 5 %).
"""

import numpy as np
import pandas as pd
import torch

from tmp_utils.inputs.audio import log_mel, loudness_lufs
from tmp_utils.inputs.prompts import editability_prompts, fill
from tmp_utils.metrics.embed import Embedder
from tmp_utils.metrics.intervals import mean_of
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.generate import clip_seed, generate
from tmp_utils.pocket import captions
from tmp_utils.pocket.clap import retrieved
from tmp_utils.pocket.corpus import HOLDOUT_OFFSET, Corpus

FLOORS = {"R@10": 0.85, "roundtrip_similarity": 0.85, "right_family_first": 0.70}
ALL = "all"
CLIPPED = 0.999
SUBJECT_SEED = 2 * HOLDOUT_OFFSET


def _row(measure: str, values, judge: str, family: str = ALL) -> dict:
    interval = mean_of(np.asarray(values, np.float64))
    bounds = {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
    return {"measure": measure, "family": family, "value": interval.value, "n": interval.n, **bounds, "judge": judge}


def round_trip(backbone: Backbone, clips: list[np.ndarray], batch_size: int = 8) -> list[np.ndarray]:
    """Encode clips to the mean of their latents and decode them again, with VAE and vocoder."""
    made = []
    for k in range(0, len(clips), batch_size):
        mean, _ = backbone.moments(clips[k : k + batch_size])
        made += list(backbone.decode(mean * backbone.vae.config.scaling_factor))
    return made


def _mel_l1(made: np.ndarray, real: np.ndarray) -> float:
    n = min(len(made), len(real))
    a, b = (log_mel(torch.from_numpy(np.asarray(x[:n], np.float32))[None]) for x in (made, real))
    return (a - b).abs().mean().item()


def spectral_flatness(clip: np.ndarray) -> float:
    """Geometric over arithmetic mean of the power spectrum, averaged over sounding frames: 0 tone, 1 noise."""
    power = (
        torch.stft(torch.from_numpy(clip), 1024, 512, window=torch.hann_window(1024), return_complex=True).abs() ** 2
    )
    frames = power[:, power.sum(0) > 1e-4] + 1e-10
    return float((frames.log().mean(0).exp() / frames.mean(0)).mean()) if frames.shape[1] else float("nan")


def _levels(clips: list[np.ndarray], what: str, judge: str) -> list[dict]:
    levels = np.array([loudness_lufs(clip) for clip in clips])
    measures = {
        "level_lufs": levels[np.isfinite(levels)],
        "spectral_flatness": [spectral_flatness(np.asarray(clip, np.float32)) for clip in clips],
        "clipped_share": [np.mean(np.abs(clip) >= CLIPPED) for clip in clips],
    }
    return [_row(f"{name}_{what}", values, judge) for name, values in measures.items()]


def _family_rows(backbone: Backbone, judge: Embedder, subjects: list[str], real: dict, steps: int, guidance: float):
    """Return CLAP-T and rank of generated and real clips for each of the 20 prompts, and the generated clips."""
    prompts = editability_prompts()
    rows, generated = [], []
    all_texts = {noun: judge.embed_prompts([fill(p.template, noun) for p in prompts]) for noun in subjects}
    for i, prompt in enumerate(prompts):
        texts = [fill(prompt.template, noun) for noun in subjects]
        seeds = [clip_seed(0, prompt.id, k) for k in range(len(subjects))]
        clips = generate(backbone, texts, seeds, steps=steps, guidance_scale=guidance, progress=False)
        audio = judge.embed_clips(clips)
        scores = np.stack([all_texts[noun] @ a for noun, a in zip(subjects, audio, strict=True)])
        others = np.delete(scores, i, axis=1).mean(axis=1)
        real_scores = [float(judge.embed_prompts([text])[0] @ a) for text, a in real[prompt.id]]
        rows += [
            _row("clap_t_generated", scores[:, i], judge.name, prompt.id),
            _row("clap_t_real", real_scores, judge.name, prompt.id),
            _row("clap_t_mismatched", others, judge.name, prompt.id),
            _row("right_family_first", scores.argmax(axis=1) == i, judge.name, prompt.id),
        ]
        generated += clips
    return rows, generated


def _real_families(held_out: Corpus, audio: np.ndarray, judge: Embedder) -> list[dict]:
    """Return how often a real clip's own prompt is first, by prompt and over the prompts, as for generated clips."""
    prompts, contexts, rows = editability_prompts(), held_out.table.context.to_numpy(), []
    for i, prompt in enumerate(prompts):
        of_prompt = np.flatnonzero(contexts == prompt.id)
        texts = [[fill(p.template, held_out.noun(k)) for p in prompts] for k in of_prompt]
        first = [(judge.embed_prompts(each) @ audio[k]).argmax() == i for each, k in zip(texts, of_prompt, strict=True)]
        rows.append(_row("right_family_first_real", first, judge.name, prompt.id))
    return [*rows, _row("right_family_first_real", [row["value"] for row in rows], judge.name)]


def prove(
    backbone: Backbone, judge: Embedder, held_out: Corpus, *, n_subjects: int, steps: int, guidance: float, log=print
) -> pd.DataFrame:
    """Measure retrieval, the round trip, generated clips and levels.

    Parameters
    ----------
    judge : not the CLAP that conditions the backbone.
    held_out : clips that no part was trained on.
    n_subjects : subjects per prompt; 20 times as many clips are generated.
    steps, guidance : of the generation.

    Returns
    -------
    measure, family, value, n, ci_low, ci_high, judge.
    """
    clips = [held_out.clip(k) for k in range(len(held_out.table))]
    names = held_out.table.caption.tolist()
    audio, text = judge.embed_clips(clips), judge.embed_prompts(names)
    rows = [_row(f"R@{k}", retrieved(audio, text, names, k), judge.name) for k in (1, 10)]
    log("retrieval", *(f"{row['measure']} {row['value']:.3f}" for row in rows))
    returned = round_trip(backbone, clips)
    similarity = (judge.embed_clips(returned) * audio).sum(axis=1)
    rows.append(_row("roundtrip_similarity", similarity, judge.name))
    rows.append(_row("roundtrip_mel_l1", [_mel_l1(a, b) for a, b in zip(returned, clips, strict=True)], judge.name))
    log("round trip", *(f"{row['measure']} {row['value']:.3f}" for row in rows[2:]))
    rows += _real_families(held_out, audio, judge)
    rng = np.random.default_rng(SUBJECT_SEED)
    subjects = [captions.draw_subject(rng).noun for _ in range(n_subjects)]
    contexts = held_out.table.context.to_numpy()
    real = {
        prompt.id: [(names[k], audio[k]) for k in np.flatnonzero(contexts == prompt.id)]
        for prompt in editability_prompts()
    }
    families, generated = _family_rows(backbone, judge, subjects, real, steps, guidance)
    rows += families
    per_family = pd.DataFrame(families)
    for measure in ("clap_t_generated", "clap_t_real", "clap_t_mismatched", "right_family_first"):
        rows.append(_row(measure, per_family[per_family.measure == measure].value, judge.name))
        log(measure, f"{rows[-1]['value']:.3f}")
    rows += _levels(clips, "real", judge.name) + _levels(generated, "generated", judge.name)
    return pd.DataFrame(rows)


def proof_report(table: pd.DataFrame, goals: pd.DataFrame, settings: dict, earlier: str) -> str:
    """The proof as Markdown: what was to be reached, overall measures beside their floors, then the 20 families.

    Parameters
    ----------
    table : from ``prove``.
    goals : from ``codec.goals_table``.
    settings : how the model was made (seed, steps ...); listed at the end.
    earlier : the report that it replaces, of which the words before the tables are kept.
    """
    overall = table[table.family == ALL].set_index("measure")
    head = "| measure | goal | value | n | reached |"
    lines = [earlier.partition(head)[0] + head, "|---|---|---|---|---|"]
    for row in goals.itertuples():
        lines.append(f"| {row.measure} | {row.goal} | {row.value:.3f} | {row.n:.0f} | {row.reached} |")
    lines += ["", "*Floor*: the lowest value with which the tests pass.", ""]
    lines += ["| measure | value | 95 % interval | n | floor |", "|---|---|---|---|---|"]
    for measure, row in overall.iterrows():
        floor = f"{FLOORS[measure]:.2f}" if measure in FLOORS else ""
        interval = f"{row.ci_low:.3f} to {row.ci_high:.3f}"
        lines.append(f"| {measure} | {row.value:.3f} | {interval} | {row.n:.0f} | {floor} |")
    columns = ["clap_t_generated", "clap_t_real", "clap_t_mismatched", "right_family_first", "right_family_first_real"]
    families = table[table.family != ALL].pivot(index="family", columns="measure", values="value")[columns]
    lines += ["", "| prompt | " + " | ".join(columns) + " |", "|---" * 6 + "|"]
    lines += [f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |" for name, row in families.iterrows()]
    lines += ["", "Settings of a new `make pocket`:", "", *(f"- {key}: {value}" for key, value in settings.items())]
    return "\n".join(lines) + "\n"
