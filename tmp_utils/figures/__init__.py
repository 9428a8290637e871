"""Pictures of the study: functions of arrays or of a tidy table that return a plotly ``Figure``.

Nothing here shows a figure or reads a file. Every function takes a ``title`` and a ``note``; the note is
where a figure says that its sounds are rendered stand-ins, what n is, or which profile made it.

look   : colours, template, ``save_figure``.
sound  : waveform, mel spectrogram, training curve.
"""

from tmp_utils.figures.look import METHOD_COLOURS, method_colour, save_figure, styled
from tmp_utils.figures.sound import mel_spectrogram, spectrogram_pair, training_curve, waveform

__all__ = [
    "METHOD_COLOURS",
    "mel_spectrogram",
    "method_colour",
    "save_figure",
    "spectrogram_pair",
    "styled",
    "training_curve",
    "waveform",
]
