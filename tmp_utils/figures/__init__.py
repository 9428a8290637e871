"""Pictures of the study: functions of arrays or of a tidy table that return a plotly ``Figure``.

Nothing here shows a figure or reads a file. Every function takes a ``note``, which says whether
sounds are rendered stand-ins, what n is, or which profile the figure is of.

look   : colours, template, ``save_figure``.
sound  : waveform, mel spectrogram.
study  : setups, music agreement.
plane  : the plane of CLAP-A and CLAP-T.
learning : what changes during a training.
mixtures : masks of a mixture, and its words.
strength : style transfer over strengths.
survey : the listening study.
pocket : how the pocket model was made and what it can do.
"""

from tmp_utils.figures.learning import how_many, language_drift, learning_path, strength_path, what_moves
from tmp_utils.figures.look import METHOD_COLOURS, method_colour, save_figure, styled
from tmp_utils.figures.mixtures import mask_pictures, mixture_dots
from tmp_utils.figures.plane import clap_plane
from tmp_utils.figures.pocket import prompt_families, stage_curves
from tmp_utils.figures.sound import mel_spectrogram, spectrogram_pair, waveform
from tmp_utils.figures.study import music_agreement, setups_dots, summary

__all__ = [
    "METHOD_COLOURS",
    "clap_plane",
    "how_many",
    "language_drift",
    "learning_path",
    "mask_pictures",
    "mel_spectrogram",
    "method_colour",
    "mixture_dots",
    "music_agreement",
    "prompt_families",
    "save_figure",
    "setups_dots",
    "spectrogram_pair",
    "stage_curves",
    "strength_path",
    "styled",
    "summary",
    "waveform",
    "what_moves",
]
