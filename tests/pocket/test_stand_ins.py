"""The stand-ins' scores: reserved programs, and dependence on the seed alone."""

from itertools import pairwise

import numpy as np
import pytest

from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import save_clip
from tmp_utils.pocket import stand_ins
from tmp_utils.pocket.grooves import RIDE
from tmp_utils.pocket.instruments import RESERVED
from tmp_utils.pocket.scores import SCALES
from tmp_utils.pocket.stand_in_solos import PLAYERS, pitch_of
from tmp_utils.pocket.stand_in_tunes import TUNES, chord_pitches, melody_notes
from tmp_utils.pocket.stand_ins import STAND_INS, render_stand_in, write_backgrounds, write_stand_ins

KIT_GROOVES = {"breakbeat", "bossa"}  # a drum kit in a groove that the corpus does not have


def parts_of(name, index=0, seed=0):
    style, rng = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2, index])
    return [stand_ins._playable(part) for part in stand_ins._parts(name, index, style, rng)]


def notes_of(name, index=0, seed=0):
    return [(n.pitch, round(n.start, 6), n.velocity) for part in parts_of(name, index, seed) for n in part.notes]


def test_the_catalogue_lists_exactly_the_stand_ins_that_can_be_rendered():
    table = concepts.catalogue()
    assert set(table.loc[table["origin"] == "stand-in", "name"]) == set(STAND_INS)


@pytest.mark.parametrize("name", STAND_INS)
def test_a_stand_in_uses_only_what_is_reserved_from_the_pocket_corpus(name):
    for part in parts_of(name):
        if not part.is_drum:
            assert part.program in RESERVED
        elif name not in KIT_GROOVES:
            assert min(note.pitch for note in part.notes) > RIDE


def test_no_player_uses_a_scale_of_the_pocket_corpus():
    assert not {player.scale for player in PLAYERS.values()} & set(SCALES.values())


@pytest.mark.parametrize("name", ["rumba", "sitar", "banjo", "mountain_king"])
def test_the_seed_suffices_and_matters_and_takes_differ(name):
    assert notes_of(name, 0, 0) == notes_of(name, 0, 0)
    assert notes_of(name, 0, 0) != notes_of(name, 0, 1)
    assert notes_of(name, 0, 0) != notes_of(name, 1, 0)


@pytest.mark.parametrize("name", STAND_INS)
def test_a_pitch_never_sounds_twice_at_once_and_nothing_starts_after_the_take(name):
    for part in parts_of(name, index=3):
        assert all(0 <= note.start < 10 for note in part.notes)
        for pitch in {note.pitch for note in part.notes}:
            notes = [note for note in part.notes if note.pitch == pitch]
            assert all(a.end <= max(b.start, a.start + 0.001) for a, b in pairwise(notes))


@pytest.mark.parametrize("name", TUNES)
def test_a_tunes_melody_fills_as_many_bars_as_it_has_chords(name):
    tune = TUNES[name]
    beats = sum(length for _, length in melody_notes(tune.melody))
    assert beats == tune.beats_per_bar * len(tune.chords.split())
    assert len(tune.first_bars) == stand_ins.N_TAKES


def test_ode_to_joy_begins_mi_mi_fa_sol():
    pitches = [pitch for pitch, _ in melody_notes(TUNES["ode_to_joy"].melody)][:8]
    assert [pitch - pitches[0] for pitch in pitches] == [0, 0, 1, 3, 3, 1, 0, -2]


def test_degrees_continue_into_other_octaves():
    assert [pitch_of(d, 60, (0, 2, 3, 7, 8)) for d in (-1, 0, 4, 5)] == [56, 60, 68, 72]
    assert chord_pitches("Am") == (57, 60, 64, 69)


def test_a_rendered_take_sounds_and_does_not_clip(monkeypatch):
    score = {}

    def hum(midi, duration_s):
        score["notes"] = sum(len(part.notes) for part in midi.instruments)
        return np.sin(np.arange(round(duration_s * 16_000)) / 9).astype("float32")

    monkeypatch.setattr(stand_ins, "render_midi", hum)
    clip = render_stand_in("koto", 0)
    assert score["notes"] > 10
    assert clip.shape == (160_000,) and np.abs(clip).max() <= 0.9


def test_all_takes_and_backgrounds_are_written_where_concepts_look_for_them(tmp_path, monkeypatch):
    tone = np.sin(np.arange(16_000) / 9).astype("float32")
    monkeypatch.setattr(stand_ins, "find_synthesizer", lambda: None)  # it is not played, so it need not be there
    monkeypatch.setattr(stand_ins, "render_midi", lambda midi, duration_s: np.tile(tone, 10))
    paths = write_stand_ins(tmp_path, names=("koto",))
    assert [p.relative_to(tmp_path).as_posix() for p in paths[:2]] == ["clips/koto/koto_1.ogg", "clips/koto/koto_2.ogg"]
    write_backgrounds(tmp_path)
    assert len(list((tmp_path / "backgrounds").iterdir())) == len(stand_ins.BACKGROUNDS) >= 6


def test_an_unknown_stand_in_is_an_error_that_lists_the_names():
    with pytest.raises(ValueError, match='unknown stand-in "theremin"; expected one of breakbeat'):
        render_stand_in("theremin", 0)


def test_beats_and_solos_have_any_number_of_takes_and_tunes_have_five(tmp_path, monkeypatch):
    monkeypatch.setattr(stand_ins, "find_synthesizer", lambda: None)
    monkeypatch.setattr(stand_ins, "render_stand_in", lambda name, index, seed: np.full(1600, index / 20, "float32"))
    paths = write_stand_ins(tmp_path, names=("koto",), n_takes=11)
    assert [path.name for path in paths] == sorted(path.name for path in paths) and paths[0].name == "koto_01.ogg"
    assert notes_of("koto", 5) not in [notes_of("koto", index) for index in range(5)]
    with pytest.raises(ValueError, match="ode_to_joy: a tune has 5 takes, not 11; these have any number: breakbeat"):
        write_stand_ins(tmp_path, names=("rumba", "ode_to_joy"), n_takes=11)
    assert not (tmp_path / "clips" / "rumba").exists()


def test_a_background_is_the_same_for_the_same_seed(tmp_path):
    first, again, other = (stand_ins.render_background("wind", seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert save_clip(tmp_path / "wind.wav", first).is_file()
