"""The catalogue, the shipped clips, and folders of one's own."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import CLIP_S, RATE_HZ, load_clip, loudness_lufs, save_clip
from tmp_utils.inputs.concepts import catalogue, clips_hash, list_concepts, load_clips, load_concept
from tmp_utils.inputs.profiles import DATA_DIR

TONE = (0.3 * np.sin(np.arange(2 * RATE_HZ) / 5)).astype("float32")


def test_the_catalogue_has_the_papers_32_concepts_and_enough_stand_ins():
    table = catalogue()
    assert (table["origin"] == "paper").sum() == 32
    assert (table["origin"] == "stand-in").sum() >= 24
    assert not table["name"].duplicated().any()
    assert not table["rare_word"].str.lower().duplicated().any()


def test_no_living_persons_voice_and_nothing_of_the_papers_is_shipped():
    table = catalogue().set_index("name")
    living = {"paper/eminem", "paper/obama", "paper/trump"}
    assert set(table.index[table["voice"]]) == {*living, "tenor"}  # Caruso died in 1921
    assert not table["shipped"][list(living)].any()
    assert not (table["shipped"] & (table["origin"] == "paper")).any()
    assert {p.name for p in (DATA_DIR / "clips").iterdir()} == set(table.index[table["shipped"]])


def test_every_video_id_has_youtubes_eleven_characters_and_five_start_times():
    rows = catalogue().query("video_id != ''")
    assert (rows["video_id"].str.len() == 11).all()
    assert (rows["start_times_s"].str.split(";").str.len() == 5).all()


def test_every_group_of_the_paper_has_stand_ins():
    groups = catalogue().query("origin == 'stand-in'")["group"].value_counts()
    assert set(groups.index) == {"percussion and beats", "solo melodic", "multi-instrument"}
    assert groups.min() >= 6


@pytest.mark.parametrize("name", [name for name in list_concepts() if concepts.are_stand_ins([name])])
def test_a_stand_in_has_five_different_clips_of_ten_seconds_that_are_neither_clipped_nor_faint(name):
    concept = load_concept(name)
    clips = [load_clip(path) for path in concept.clips]
    assert concept.stand_in
    assert [len(clip) for clip in clips] == [10 * RATE_HZ] * 5
    assert all(np.abs(clip).max() < 0.99 for clip in clips)
    assert all(-28 < loudness_lufs(clip) < -16 for clip in clips)
    likeness = np.corrcoef(clips)[np.triu_indices(5, 1)]
    assert np.abs(likeness).max() < 0.9


def test_the_shipped_sounds_stay_small():
    total = sum(p.stat().st_size for f in ("clips", "backgrounds") for p in (DATA_DIR / f).rglob("*.ogg"))
    assert total < 13e6


def test_a_name_gives_the_stand_in_and_the_prefix_the_papers_own(tmp_path, monkeypatch):
    monkeypatch.setattr(concepts, "PAPER_CLIPS_DIR", tmp_path)
    (tmp_path / "sitar").mkdir()
    save_clip(tmp_path / "sitar" / "sitar_1.wav", TONE)
    own, papers = load_concept("sitar"), load_concept("paper/sitar")
    assert own.stand_in and own.clips[0].is_relative_to(DATA_DIR)
    assert not papers.stand_in and papers.clips == (tmp_path / "sitar" / "sitar_1.wav",)


def test_a_concept_of_the_papers_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(concepts, "PAPER_CLIPS_DIR", tmp_path)
    with pytest.raises(FileNotFoundError, match="make clips-paper"):
        load_concept("paper/cajon")
    with pytest.raises(FileNotFoundError, match=r"cannot be fetched .* record your own"):
        load_concept("paper/gtr")


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(FileNotFoundError, match=r'"theremin" is neither a concept nor a folder.*sitar'):
        load_concept("theremin")
    with pytest.raises(FileNotFoundError, match=r'"cajon" .*; "paper/cajon" is the paper\'s'):
        load_concept("cajon")


def test_a_folder_of_recordings_of_any_kind_is_a_concept(tmp_path):
    folder = tmp_path / "Été à Rome"
    folder.mkdir()
    save_clip(folder / "b ñ.flac", TONE)
    soundfile.write(folder / "A 2.WAV", np.stack([TONE, TONE], axis=1), 44_100, subtype="PCM_24")
    soundfile.write(folder / "c.mp3", TONE, RATE_HZ)
    save_clip(folder / "d.ogg", TONE)
    (folder / "notes.txt").write_text("not a clip")
    concept = load_concept(folder, class_noun="violin")
    assert (concept.name, concept.class_noun, concept.stand_in) == ("ete_a_rome", "violin", False)
    assert [p.name for p in concept.clips] == ["A 2.WAV", "b ñ.flac", "c.mp3", "d.ogg"]
    assert [clip.shape for clip in load_clips(concept)] == [(163_840,)] * 4


def test_a_folder_may_say_its_own_words_and_an_argument_outranks_it(tmp_path):
    save_clip(tmp_path / "a.wav", TONE)
    (tmp_path / "concept.toml").write_text('class_noun = "drum beat"\nrare_word = "zyx"\nharmonic = false\n')
    concept = load_concept(str(tmp_path))
    assert (concept.class_noun, concept.rare_word, concept.harmonic) == ("drum beat", "zyx", False)
    assert load_concept(tmp_path, class_noun="bell").class_noun == "bell"


def test_a_folder_without_a_class_noun_is_music_and_says_so(tmp_path):
    save_clip(tmp_path / "a.wav", TONE)
    with pytest.warns(UserWarning, match='no class noun was given, so "sound" is used'):
        assert load_concept(tmp_path).class_noun == "sound"


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no sound files in it; expected \.wav, \.flac"):
        load_concept(tmp_path)
    save_clip(tmp_path / "a.wav", TONE)
    (tmp_path / "concept.toml").write_text("class_noun = drum beat")
    with pytest.raises(ValueError, match="not TOML"):
        load_concept(tmp_path)
    (tmp_path / "concept.toml").write_text('classnoun = "drum beat"')
    with pytest.raises(ValueError, match=r"concept\.toml: classnoun is not understood; expected class_noun, rare_word"):
        load_concept(tmp_path)
    (tmp_path / "concept.toml").rename(tmp_path / "concept.toml.txt")
    with pytest.raises(ValueError, match=r"concept\.toml\.txt: not read under this name\. Rename it to concept\.toml"):
        load_concept(tmp_path)


@pytest.mark.parametrize("noun", ['""', '"  "', '"drum\\nbeat"', '"drum {}"'])
def test_a_class_noun_must_be_words_on_one_line(tmp_path, noun):
    save_clip(tmp_path / "a.wav", TONE)
    (tmp_path / "concept.toml").write_text(f"class_noun = {noun}")
    with pytest.raises(ValueError, match=r"concept\.toml: class_noun = .*; expected words on one line, without braces"):
        load_concept(tmp_path)


def test_a_concept_toml_is_utf_8_with_or_without_its_mark(tmp_path):
    save_clip(tmp_path / "a.wav", TONE)
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "concept.toml").write_text('class_noun = "mélodie"\r\n', encoding=encoding)
        assert load_concept(tmp_path).class_noun == "mélodie"
    (tmp_path / "concept.toml").write_text('class_noun = "mélodie"', encoding="latin-1")
    with pytest.raises(ValueError, match=r"concept\.toml: its letters are not in UTF-8"):
        load_concept(tmp_path)


def test_an_unusable_file_in_a_folder_is_named(tmp_path):
    save_clip(tmp_path / "a.wav", TONE)
    (tmp_path / "b.wav").write_text("text")
    with pytest.raises(ValueError, match=r"b\.wav: not readable as sound"):
        load_clips(load_concept(tmp_path, "bell"))


def test_load_clips_takes_the_first_and_warns_when_there_are_fewer(tmp_path):
    save_clip(tmp_path / "a.wav", TONE)
    save_clip(tmp_path / "b.wav", 0.5 * TONE)
    concept = load_concept(tmp_path, "bell")
    (only,) = load_clips(concept, 1)
    assert len(only) == round(CLIP_S * RATE_HZ)
    assert np.abs(only[: len(TONE) - 100] - TONE[:-100]).max() < 1e-4 and only[len(TONE) :].any()
    (tmp_path / "concept.toml").write_text('short = "silence"')
    padded = load_concept(tmp_path, "bell")
    (silent,) = load_clips(padded, 1)
    assert np.abs(silent[: len(TONE)] - TONE).max() < 1e-4 and not silent[len(TONE) :].any()
    assert clips_hash(padded) != clips_hash(concept)
    with pytest.warns(UserWarning, match="3 clips were requested; it has 2"):
        assert len(load_clips(concept, 3)) == 2
    with pytest.raises(ValueError, match="at least one clip"):
        load_clips(concept, 0)


def test_there_are_backgrounds_of_the_right_length_and_none_is_silent():
    sounds = concepts.backgrounds()
    assert len(sounds) >= 6
    assert all(s.shape == (163_840,) and np.sqrt(np.mean(s**2)) > 0.01 for s in sounds)


def test_importing_the_catalogue_loads_no_deep_learning():
    heavy = "torch", "transformers", "diffusers", "essentia", "scipy"
    rooms = "tmp_utils.inputs.concepts, tmp_utils.inputs.prompts"
    code = f"import sys, {rooms}; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
