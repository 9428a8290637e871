"""The corpus of the pocket model: scores, sounds and captions, drawn from a seed."""

import sys

import numpy as np
import pretty_midi
import pytest

from tmp_utils.inputs.audio import RATE_HZ
from tmp_utils.inputs.prompts import editability_prompts
from tmp_utils.pocket import acoustics, captions, grooves, scores
from tmp_utils.pocket.corpus import CLIP_SAMPLES, EFFECTS, Corpus, render_clip, render_corpus
from tmp_utils.pocket.instruments import BY_NAME, INSTRUMENTS, RESERVED
from tmp_utils.pocket.render import find_soundfont, render_midi
from tmp_utils.pocket.stand_ins import write_stand_ins


def soundfont_installed() -> bool:
    try:
        return find_soundfont().is_file()
    except FileNotFoundError:
        return False


rendering = pytest.mark.skipif(not soundfont_installed(), reason="no FluidR3 SoundFont: rendering is optional")


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ)).astype(np.float32)


def test_the_corpus_uses_no_instrument_reserved_for_the_concepts():
    assert len(INSTRUMENTS) >= 40
    assert not {instrument.program for instrument in INSTRUMENTS} & RESERVED
    played = {key for _, _, patterns in grooves.GROOVES.values() for key in patterns}
    toms = {note.pitch for note in grooves.tom_part(120, 10, np.random.default_rng(0)).notes}
    assert max(played | toms) == grooves.RIDE


def test_every_editability_prompt_is_a_context_of_the_corpus_with_the_same_wording():
    rng = np.random.default_rng(0)
    subject = captions.Subject("flute", "instrument", BY_NAME["flute"])
    for prompt in editability_prompts():
        texts = {captions.caption(subject, prompt.id, rng) for _ in range(40)}
        assert prompt.template.replace("{}", "flute") in texts
        assert len(texts) == 1 + len(captions.PARAPHRASES[prompt.id])
    drawn = {captions.draw_context(rng) for _ in range(1000)}
    assert {prompt.id for prompt in editability_prompts()} <= drawn


def test_a_melody_stays_in_key_and_range_and_depends_on_the_seed_alone():
    flute, key = BY_NAME["flute"], scores.Key(2, scores.SCALES["minor"])
    parts = [scores.melody(flute, key, 100, 10, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    pitches = [[note.pitch for note in part.notes] for part in parts]
    assert pitches[0] == pitches[1] != pitches[2]
    assert {(pitch - 2) % 12 for pitch in pitches[0]} <= set(scores.SCALES["minor"])
    assert flute.low <= min(pitches[0]) and max(pitches[0]) <= flute.high


def test_a_groove_has_its_backbeat_at_the_given_tempo():
    part = grooves.drum_part("rock", 120, 8, np.random.default_rng(0))
    snares = sorted(note.start for note in part.notes if note.pitch == grooves.SNARE and note.velocity > 70)
    assert np.median(np.diff(snares)) == pytest.approx(1.0, abs=0.02)  # two beats at 120 BPM


@pytest.mark.parametrize("name", sorted(EFFECTS))
def test_a_room_or_background_keeps_length_and_headroom_and_depends_on_the_seed_alone(name):
    clip = noise(2)
    made = [EFFECTS[name](clip, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert made[0].shape == clip.shape and np.abs(made[0]).max() <= acoustics.PEAK + 1e-6
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_a_cathedral_rings_longer_than_a_small_room():
    click = np.zeros(3 * RATE_HZ, np.float32)
    click[100] = 0.5
    late = slice(RATE_HZ, None)
    tails = [effect(click, np.random.default_rng(0))[late] for effect in (acoustics.small_room, acoustics.cathedral)]
    assert np.sum(tails[1] ** 2) > 100 * np.sum(tails[0] ** 2)


def test_under_water_removes_high_frequencies():
    spectrum = np.abs(np.fft.rfft(acoustics.under_water(noise(2), np.random.default_rng(0)))) ** 2
    hz = np.fft.rfftfreq(2 * RATE_HZ, 1 / RATE_HZ)
    assert spectrum[hz > 2000].sum() < 0.01 * spectrum[hz < 1000].sum()


def test_a_missing_soundfont_is_an_error_that_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("TMP_SOUNDFONT", str(tmp_path / "none.sf2"))
    with pytest.raises(FileNotFoundError, match="fluid-soundfont-gm"):
        find_soundfont()


def test_without_fluidsynth_an_error_says_what_to_install_before_anything_is_overwritten(monkeypatch, tmp_path):
    (tmp_path / "corpus.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    message = r"FluidSynth cannot be loaded .*`apt-get install fluidsynth`.*`pip install pyfluidsynth`"
    for make in (lambda: render_corpus(tmp_path, 2, 0), lambda: write_stand_ins(tmp_path)):
        with pytest.raises(ImportError, match=message):
            make()
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.json"]


@rendering
def test_a_clip_is_the_same_whatever_was_rendered_before_it():
    first = render_clip(0, 3)
    render_clip(0, 4)
    again = render_clip(0, 3)
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1:] == again[1:]
    assert not np.array_equal(first[0], render_clip(1, 3)[0])


@rendering
def test_an_empty_score_is_silence_and_a_note_has_its_pitch():
    assert np.abs(render_midi(pretty_midi.PrettyMIDI(), 1.0)).max() < 1e-4  # the synthesizer dithers
    score, part = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(73)
    part.notes.append(pretty_midi.Note(100, 69, 0.0, 2.0))
    score.instruments.append(part)
    clip = render_midi(score, 2.0)[RATE_HZ // 2 :]
    spectrum = np.abs(np.fft.rfft(clip * np.hanning(len(clip))))
    assert np.argmax(spectrum) * RATE_HZ / len(clip) == pytest.approx(440, abs=8)


@rendering
def test_a_corpus_is_rendered_once_and_read_back(tmp_path):
    corpus = render_corpus(tmp_path / "corpus", 2, seed=5, n_processes=1)
    assert corpus.clips.shape == (2, CLIP_SAMPLES)
    written = (tmp_path / "corpus" / "clips.int16").stat().st_mtime_ns
    render_corpus(tmp_path / "corpus", 2, seed=5, n_processes=1)
    assert (tmp_path / "corpus" / "clips.int16").stat().st_mtime_ns == written
    np.testing.assert_allclose(
        corpus.clip(1), render_clip(5, 1)[0], atol=1e-3
    )  # 16 bits, and the synthesizer's dither, which differs between processes


def test_a_missing_corpus_is_an_error_that_names_the_stage(tmp_path):
    with pytest.raises(FileNotFoundError, match="STAGE=corpus"):
        Corpus.open(tmp_path)
