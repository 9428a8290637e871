"""Figures say what they show: axes with units, traces with the table's numbers, files that are whole."""

import numpy as np
import plotly.io
import pytest

from tmp_utils import figures

RATE_HZ = 16000


@pytest.fixture
def sine():
    return (0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE_HZ) / RATE_HZ)).astype(np.float32)


def test_a_waveform_keeps_the_extremes_of_a_long_clip(sine):
    sine[12345] = -0.9
    fig = figures.waveform(sine, RATE_HZ)
    values = np.concatenate([np.asarray(trace.y) for trace in fig.data])
    assert (values.min(), values.max()) == (pytest.approx(-0.9), pytest.approx(0.5, abs=0.01))
    assert max(len(trace.x) for trace in fig.data) <= 1500
    assert fig.layout.xaxis.title.text == "Time (s)"


def test_a_mel_spectrogram_of_a_sine_peaks_at_its_frequency_on_the_axis(sine):
    fig = figures.mel_spectrogram(sine)
    loudest = np.asarray(fig.data[0].z).mean(1).argmax()
    ticks = dict(zip(fig.layout.yaxis.ticktext, fig.layout.yaxis.tickvals, strict=True))
    assert abs(loudest - ticks["1k"]) <= 1
    assert fig.layout.yaxis.title.text == "Frequency (Hz)"


def test_a_mel_of_the_wrong_way_round_is_refused():
    with pytest.raises(ValueError, match=r"expected a clip .* or a log-mel \(frames, 64\)"):
        figures.mel_spectrogram(np.zeros((64, 1024)))


def test_a_spectrogram_pair_shares_one_colour_scale(sine):
    fig = figures.spectrogram_pair(sine, 0.1 * sine, ("loud", "soft"))
    assert fig.data[0].zmax == fig.data[1].zmax
    assert np.max(fig.data[0].z) - np.max(fig.data[1].z) == pytest.approx(20, abs=0.2)


def test_a_saved_figure_reads_back_and_leaves_nothing_else(tmp_path, sine):
    path = figures.save_figure(figures.waveform(sine, RATE_HZ), tmp_path / "new", "wave")
    assert [file.name for file in path.parent.iterdir()] == ["wave.json"]
    assert plotly.io.read_json(path).layout.xaxis.title.text == "Time (s)"


def test_a_figure_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    class Broken:
        def to_json(self):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        figures.save_figure(Broken(), tmp_path, "wave")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_name_with_a_folder_in_it_is_refused(tmp_path):
    with pytest.raises(ValueError, match="plain name"):
        figures.save_figure(None, tmp_path, "../wave")
