"""Key, scale, tempo and level after VAE and vocoder, and how much of the loss is due to each.

Conventions: a *chain* turns clips (b, n) into clips of the same shape. The clips of every concept go through each chain
and are compared with the concept's target, like generated clips in Figure 5; but a clip's own original is one of the
five of the target, where the study's rows `codec` are compared with the other four. `real` is the ceiling: the clips
unchanged. Levels are LUFS; flatness is `proof.spectral_flatness`.

CHAINS      : real; true magnitudes and true mels through Griffin-Lim; the whole codec.
codec_table : chains and concepts -> one row a chain and a measure.
STAND_INS   : the eight stand-ins that are measured, beside all recordings.
goals_table : proof and codec table -> what the model was to reach, and whether it does.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from tmp_utils.inputs.audio import RATE_HZ, log_mel
from tmp_utils.inputs.concepts import Concept, load_clips
from tmp_utils.metrics.intervals import mean_of
from tmp_utils.metrics.music import MusicTarget, agreement, read_music
from tmp_utils.model.backbone import Backbone
from tmp_utils.model.griffin_lim import GriffinLimVocoder
from tmp_utils.pocket.proof import round_trip, spectral_flatness

STAND_INS = ("sitar", "breakbeat", "koto", "bagpipe", "greensleeves", "taiko", "fiddle", "ode_to_joy")
OF_STAND_INS, OF_RECORDINGS = "eight stand-ins", "recordings"
REAL, WHOLE = "real", "whole codec"
# What the model was to reach. The first two are of proof.csv, the others of the whole codec on the eight stand-ins.
PROOF_GOALS = {"R@10": 0.93, "right_family_first": 0.85}
GOALS = {"key_agreement": 0.70, "scale_agreement": 0.65, "level_agreement": 0.90, "tempo_agreement": 0.85}
LEVEL_GOAL_LU, FLATNESS_GOAL = 2.0, 2.0  # generated beside real clips; after the codec beside real clips, a ratio

Chain = Callable[[Backbone, np.ndarray], np.ndarray]


def _true_magnitudes(backbone: Backbone, clips: np.ndarray) -> np.ndarray:
    """Griffin-Lim from the clips' own magnitudes: the phase iteration alone."""
    vocoder = GriffinLimVocoder()
    return vocoder.with_phases(vocoder.analyse(torch.from_numpy(clips)).abs()).numpy()


def _true_mel(backbone: Backbone, clips: np.ndarray) -> np.ndarray:
    mels = log_mel(torch.from_numpy(clips)).to(backbone.device)
    return backbone.vocoder(mels).reshape(len(clips), -1)[:, : clips.shape[1]].cpu().numpy()


CHAINS: dict[str, Chain] = {
    REAL: lambda backbone, clips: clips,
    "true magnitudes": _true_magnitudes,
    "true mel": _true_mel,
    WHOLE: lambda backbone, clips: np.stack(round_trip(backbone, list(clips))),
}


def codec_table(
    backbone: Backbone, concepts: Sequence[Concept], chains: dict[str, Chain] = CHAINS, log=print
) -> pd.DataFrame:
    """Measure agreement, level and flatness after each chain.

    Parameters
    ----------
    backbone : its VAE and its vocoder are the codec.
    concepts : key and scale are measured on the harmonic ones, tempo on those with a constant tempo.
    chains : (backbone, clips (b, n)) -> clips (b, n).

    Returns
    -------
    chain, measure, value, n, ci_low, ci_high. The measures are the agreements of `music.agreement`,
    ``level_difference_lu`` (to the real clip, negative is quieter) and ``spectral_flatness``.
    """
    rows = []
    clips = [np.stack(load_clips(concept)).astype(np.float32) for concept in concepts]
    real = [read_music(batch, RATE_HZ) for batch in clips]
    for name, chain in chains.items():
        measures = pd.concat(
            _measures(chain(backbone, batch), readings, concept)
            for concept, batch, readings in zip(concepts, clips, real, strict=True)
        )
        for measure in measures:
            values = measures[measure].dropna()
            if len(values):
                interval = mean_of(values.to_numpy())
                bounds = {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
                rows.append({"chain": name, "measure": measure, "value": interval.value, "n": interval.n, **bounds})
        log(name, *(f"{row['measure']} {row['value']:.3f}" for row in rows if row["chain"] == name))
    return pd.DataFrame(rows)


def goals_table(proof: pd.DataFrame, codec: pd.DataFrame) -> pd.DataFrame:
    """Return what the model was to reach, and whether it does.

    Parameters
    ----------
    proof, codec : ``proof.csv`` and ``codec.csv``.

    Returns
    -------
    measure, goal, value, n, reached ("yes", "no").
    """
    stand_ins = codec[codec["clips"] == OF_STAND_INS]
    real, kept = (stand_ins[stand_ins["chain"] == chain].set_index("measure") for chain in (REAL, WHOLE))
    proof = proof[proof["family"] == "all"].set_index("measure")
    louder = proof["value"]["level_lufs_generated"] - proof["value"]["level_lufs_real"]
    flatter = kept["value"]["spectral_flatness"] / real["value"]["spectral_flatness"]
    rows = [
        (f"{measure}{where}", f"at least {goal:g}", table["value"][measure], table["n"][measure], goal, np.inf)
        for table, goals, where in ((proof, PROOF_GOALS, ""), (kept, GOALS, " after the codec"))
        for measure, goal in goals.items()
    ]
    n, within, most = proof["n"]["level_lufs_generated"], LEVEL_GOAL_LU, FLATNESS_GOAL
    rows.append(("generated minus real level, LU", f"within {within:g}", louder, n, -within, within))
    n = kept["n"]["spectral_flatness"]
    rows.append(("spectral flatness after the codec, times real", f"at most {most:g}", flatter, n, 0.0, most))
    table = pd.DataFrame(rows, columns=["measure", "goal", "value", "n", "low", "high"])
    reached = table["value"].between(table.pop("low"), table.pop("high"))
    return table.assign(reached=np.where(reached, "yes", "no"))


def _measures(clips: np.ndarray, real: pd.DataFrame, concept: Concept) -> pd.DataFrame:
    """One row a clip."""
    readings = read_music(clips, RATE_HZ)
    table = agreement(readings, MusicTarget.of(real), tempo=concept.tempo_constant, harmony=concept.harmonic)
    table["level_difference_lu"] = readings.level_lufs - real.level_lufs
    table["spectral_flatness"] = [spectral_flatness(np.asarray(clip, np.float32)) for clip in clips]
    return table
