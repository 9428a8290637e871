"""MusiCNN beside the authors' own TensorFlow graph, on sounds of known content, and without its weights.

`musicnn_reference.json` holds what the graph of the package musicnn 0.1.0 gave under TensorFlow 2.21 for the log-mels
of librosa 0.11 in float32, cut in consecutive windows of 187 frames: tags and penultimate layer of each window. Its
`mel` are frames 0, 93 and 186 of librosa's log-mel of the noise below.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tmp_utils.inputs.concepts import load_clips, load_concept
from tmp_utils.metrics import musicnn
from tmp_utils.metrics.embed import load_embedder, unit_rows

RATE_HZ = 16000
REFERENCE = json.loads((Path(__file__).parent / "musicnn_reference.json").read_text())


@pytest.fixture(scope="module")
def network():
    return musicnn.load_musicnn()


@pytest.fixture(scope="module")
def embedder():
    return load_embedder("musicnn:MTT")


@pytest.fixture(scope="module")
def penultimate(embedder):
    """Penultimate layer of the windows of three clips of a concept, (3, 4, 200), by concept."""
    names = ("sitar", "tenor", "taiko_ensemble", "whistle")
    return {name: embedder.embed_windows(load_clips(load_concept(name), 3)).reshape(3, 4, 200) for name in names}


def plucks():
    """Eight harmonics of 220 Hz, struck twice a second."""
    t = np.arange(163840) / RATE_HZ
    return 0.05 * sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 9)) * np.exp(-3 * (t % 0.5))


def test_the_mel_is_librosa_s():
    clip = np.random.default_rng(0).normal(0, 0.1, size=186 * 256).astype(np.float32)
    (window,) = musicnn.log_mel_windows(clip)
    for frame, mel in REFERENCE["mel"].items():
        assert window[int(frame)].numpy() == pytest.approx(np.array(mel), abs=2e-5)


def test_windows_are_three_seconds_and_reach_from_the_first_frame_to_the_last():
    assert musicnn.log_mel_windows(np.ones(RATE_HZ * 3)).shape == (2, 187, 96)
    clip = np.zeros(163840, np.float32)
    clip[-2000:] = 0.1 * np.sin(np.arange(2000))
    windows = musicnn.log_mel_windows(clip)
    assert windows.shape == (4, 187, 96)
    assert windows[3, -1].max() > 0.1 and windows[:3].max() == 0


@pytest.mark.parametrize(("name", "clip"), [("plucks", None), ("tenor_1", "tenor")])
def test_tags_and_penultimate_layer_are_those_of_the_authors_graph(network, name, clip):
    samples = plucks() if clip is None else load_clips(load_concept(clip))[0]
    frames = 1 + len(samples) // 256
    # One window that holds all frames: the reference cuts it anew, from the first frame on.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(musicnn, "WINDOW_FRAMES", frames)
        (mel,) = musicnn.log_mel_windows(samples)
    windows = torch.stack([mel[start : start + 187] for start in range(0, frames - 186, 187)])
    with torch.inference_mode():
        assert network(windows).numpy() == pytest.approx(np.array(REFERENCE[name]["tags"]), abs=1e-4)
        expected = np.array(REFERENCE[name]["penultimate"])
        assert network.penultimate(windows).numpy() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("concept", "tags"), [("tenor", {"opera", "male"}), ("sitar", {"sitar", "indian"}), ("taiko_ensemble", {"drums"})]
)
def test_real_and_rendered_sounds_get_the_tags_that_a_person_would_give(network, penultimate, concept, tags):
    with torch.inference_mode():
        likely = network.output(torch.from_numpy(penultimate[concept])).sigmoid().mean((0, 1))
    best = {musicnn.TAGS[k] for k in likely.argsort(descending=True)[: len(tags)]}
    assert best == tags


def test_every_clip_of_four_concepts_has_another_clip_of_its_concept_as_nearest_neighbour(penultimate):
    rows = unit_rows(np.concatenate([windows.mean(1) for windows in penultimate.values()]))  # as `embed_clips` does
    cosines = rows @ rows.T
    same = np.kron(np.eye(4, dtype=bool), np.ones((3, 3), bool))
    np.fill_diagonal(cosines, -1)
    assert np.array_equal(cosines.argmax(1) // 3, np.arange(12) // 3)
    assert cosines[same & (cosines > -1)].mean() > 0.85 > 0.6 > cosines[~same].mean()


def test_a_clip_has_the_same_embedding_alone_and_in_company_and_a_short_one_is_repeated(embedder):
    clips = [plucks(), plucks()[: RATE_HZ // 2], np.tile(plucks()[: RATE_HZ // 2], 6)[: 186 * 256]]
    together = embedder.embed_clips(clips)
    assert together.shape == (3, 200) and np.linalg.norm(together, axis=1) == pytest.approx(1)
    assert np.array_equal(together[:1], embedder.embed_clips(clips[:1]))
    assert together[1] == pytest.approx(together[2], abs=1e-6)
    assert embedder.embed_windows(clips).shape == (4 + 1 + 1, 200)


def test_prompts_and_other_models_are_refused(embedder):
    with pytest.raises(ValueError, match=r"musicnn:MTT@\w{8} embeds sound and no text. Compare .* by a CLAP"):
        embedder.embed_prompts(["a sitar"])
    with pytest.raises(ValueError, match=r"musicnn:MSD is unknown; .*musicnn:MTT"):
        load_embedder("musicnn:MSD")


def test_missing_and_damaged_weights_say_how_to_get_them_back(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model.safetensors: .*pip download --no-deps musicnn==0.1.0"):
        musicnn.load_musicnn(tmp_path)
    folder = Path(shutil.copytree(musicnn.WEIGHTS_DIR, tmp_path / "musicnn"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"SHA-256 is .*SOURCE.toml says 49589384.*Restore the folder"):
        musicnn.load_musicnn(folder)
    (folder / "LICENSE.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"its licence file LICENSE\.md is missing\. Restore the folder"):
        musicnn.load_musicnn(folder)


def test_the_shipped_weights_come_with_their_licence():
    text = (musicnn.WEIGHTS_DIR / "LICENSE.md").read_text()
    assert "Copyright (c) Music Technology Group, Universitat Pompeu Fabra 2019" in text
    assert "Permission to use, copy, modify, and/or distribute" in text
