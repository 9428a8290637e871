"""Pictures of sound.

Conventions: clips are float arrays (n,) in [-1, 1]; log-mels are arrays (frames, 64), natural log, 10 ms each.
Long signals are thinned for the screen: an envelope of at most 1500 steps, a mel of at most 512 columns in whole
decibels.

waveform, mel_spectrogram, spectrogram_pair : clips.
mel_axes : their axes.
peak_db : the highest level of several clips, for a common colour scale.
"""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tmp_utils.figures.look import BLUE, faded, styled

MAX_STEPS, MAX_COLUMNS = 1500, 512
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
LOG_TO_DB = 20 / np.log(10)  # natural log of a magnitude -> decibels
RANGE_DB = 80.0


def waveform(clip: np.ndarray, rate_hz: int = 16000, title: str = "Waveform", note: str = "") -> go.Figure:
    """Return the clip's amplitude over time in seconds, as an envelope of lowest and highest samples."""
    clip = np.asarray(clip, dtype=np.float32)
    step = max(1, -(-len(clip) // MAX_STEPS))
    padded = np.pad(clip, (0, -len(clip) % step), mode="edge").reshape(-1, step)
    time_s = np.arange(len(padded)) * step / rate_hz
    fig = go.Figure()
    for edge, fill in ((padded.min(1), None), (padded.max(1), "tonexty")):
        fig.add_scatter(x=time_s, y=edge, mode="lines", fill=fill, line={"color": BLUE, "width": 1}, showlegend=False)
    fig.update_traces(fillcolor=faded(BLUE, 0.6), hovertemplate="%{x:.2f} s: %{y:.3f}<extra></extra>")
    peak = max(0.1, 1.05 * float(np.abs(clip).max(initial=0.0)))
    fig.update_xaxes(title="Time (s)")
    fig.update_yaxes(title="Amplitude", range=[-peak, peak])
    return styled(fig, title, note, height=260)


def _mel_db(sound: np.ndarray) -> np.ndarray:
    """Return (frames, 64) in dB below full scale from a clip (n,) or a natural-log mel (frames, 64)."""
    sound = np.asarray(sound, dtype=np.float32)
    if sound.ndim == 1:
        import torch

        from tmp_utils.inputs.audio import log_mel

        sound = log_mel(torch.from_numpy(sound)).numpy()
    if sound.ndim != 2 or sound.shape[1] != 64:
        raise ValueError(f"shape {sound.shape} arrived; expected a clip (n,) at 16 kHz or a log-mel (frames, 64).")
    return LOG_TO_DB * sound


def _mel_bin(hz: float) -> float:
    """Return the fractional bin, of 64 slaney mel bins over 0-8000 Hz, centred at this frequency."""

    def mel(hz: float) -> float:
        return hz / (200 / 3) if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)

    return mel(hz) / mel(8000) * 65 - 1


def _heatmap(sound: np.ndarray, top_db: float | None = None, **kwargs) -> go.Heatmap:
    mel = _mel_db(sound)
    step = max(1, -(-len(mel) // MAX_COLUMNS))
    columns = np.stack([mel[i : i + step].mean(0) for i in range(0, len(mel), step)])
    top_db = float(mel.max()) if top_db is None else top_db
    return go.Heatmap(
        z=columns.T.round().astype(np.int8),  # a byte a value in the figure's file
        x=(np.arange(len(columns)) * step * 0.01).round(3),
        zmin=top_db - RANGE_DB,
        zmax=top_db,
        colorscale="Magma",
        colorbar={"title": {"text": "Level (dB)", "side": "right"}, "thickness": 12},
        hovertemplate="%{x:.2f} s, mel bin %{y}: %{z:.0f} dB<extra></extra>",
        **kwargs,
    )


def mel_axes(fig: go.Figure) -> None:
    """Write frequencies in Hz and times in s onto the axes of mel spectrograms."""
    labels = [f"{hz / 1000:g}k" if hz >= 1000 else str(hz) for hz in TICKS_HZ]
    fig.update_yaxes(tickvals=[_mel_bin(hz) for hz in TICKS_HZ], ticktext=labels, range=[-0.5, 63.5], showgrid=False)
    fig.update_xaxes(title="Time (s)", showgrid=False)


def peak_db(*sounds: np.ndarray) -> float:
    """Return the highest level in the mel spectrograms of clips (n,) or log-mels (frames, 64), in dB."""
    return float(max(_mel_db(sound).max() for sound in sounds))


def mel_spectrogram(
    sound: np.ndarray, title: str = "Mel spectrogram", note: str = "", top_db: float | None = None
) -> go.Figure:
    """Return the mel spectrogram of a clip (n,) at 16 kHz or of a log-mel (frames, 64).

    ``top_db`` is the brightest level of the colour scale; the sound's own peak by default.
    """
    fig = go.Figure(_heatmap(sound, top_db))
    mel_axes(fig)
    fig.update_yaxes(title="Frequency (Hz)")
    return styled(fig, title, note, height=320)


def spectrogram_pair(
    left: np.ndarray, right: np.ndarray, names: tuple[str, str], title: str = "", note: str = ""
) -> go.Figure:
    """Return two mel spectrograms side by side on one colour scale, of clips (n,) or mels (frames, 64)."""
    fig = make_subplots(1, 2, subplot_titles=names, shared_yaxes=True, horizontal_spacing=0.04)
    top_db = peak_db(left, right)
    fig.add_trace(_heatmap(left, top_db, showscale=False), 1, 1)
    fig.add_trace(_heatmap(right, top_db), 1, 2)
    mel_axes(fig)
    fig.update_yaxes(title="Frequency (Hz)", col=1)
    return styled(fig, title, note, height=360, heads_px=26)
