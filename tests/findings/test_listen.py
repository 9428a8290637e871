"""Players for any cell of the table: the right clips, as they are, also where no kernel runs."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from results_runs import PROFILE

from tmp_utils.findings import listen
from tmp_utils.findings.page import sound_data
from tmp_utils.findings.published import read_results
from tmp_utils.inputs.audio import RATE_HZ, save_clip
from tmp_utils.runs.place import Place


@pytest.fixture
def study(scored):
    return *scored, read_results(Place(scored[0], PROFILE))


def sounds(html):
    """Return the samples of each player."""
    players = re.findall(r"src='data:audio/ogg;base64,([^']*)'", html)
    return [soundfile.read(io.BytesIO(base64.b64decode(sound)))[0] for sound in players]


def clip(study, concept, variant, file):
    return study[0] / PROFILE / concept / variant / "seed0" / "clips" / file


def are_clips(played, paths):
    """Whether these samples are those of the files, at their level, but for what Vorbis loses."""
    clips = [soundfile.read(path)[0] for path in paths]
    alike = [np.corrcoef(a[: len(b)], b[: len(a)])[0, 1] for a, b in zip(played, clips, strict=True)]
    levels = [np.std(a) / np.std(b) for a, b in zip(played, clips, strict=True)]
    return min(alike) > 0.95 and levels == pytest.approx([1] * len(levels), abs=0.03)


def test_an_ogg_of_the_right_kind_is_played_as_it_is_and_any_other_file_is_coded(tmp_path):
    noise = np.random.default_rng(0).normal(size=RATE_HZ).astype(np.float32) / 10
    ogg, wav = (save_clip(tmp_path / f"noise{suffix}", noise) for suffix in (".ogg", ".wav"))
    soundfile.write(tmp_path / "fast.ogg", np.tile(noise, 3), 44_100)
    held = [base64.b64decode(sound_data(path).partition(",")[2]) for path in (ogg, wav, tmp_path / "fast.ogg")]
    assert held[0] == ogg.read_bytes() and all(sound[:4] == b"OggS" for sound in held)
    assert soundfile.info(io.BytesIO(held[2])).samplerate == RATE_HZ


def test_every_clip_of_every_run_is_listed(study):
    clips = listen.run_clips(Place(study[0], PROFILE))
    assert len(clips) == 2 * 4 * (2 + 2)
    assert all(path.is_file() for path in clips["path"])
    with pytest.raises(FileNotFoundError, match=r"no clips in the runs below .*pocket"):
        listen.run_clips(Place(study[0], "pocket"))


def test_the_browser_plays_the_clips_of_the_choice_at_their_level(study):
    browser = listen.table_browser(Place(study[0], PROFILE), study[2], study[1])
    menus, below = browser.children[0].children, browser.children[1]
    concept = [study[1][0] / f"{k}.wav" for k in range(2)]
    menus[0].value, menus[1].value, menus[3].value = "lute", "TI BL", "genre-jazz"
    assert are_clips(sounds(below.value), [*concept, clip(study, "lute", "TI-BL", "genre-jazz-0.wav")])
    menus[3].value = "reconstruction"
    generated = [clip(study, "lute", "TI-BL", f"reconstruction-{k}.wav") for k in range(2)]
    assert are_clips(sounds(below.value), [*concept, *generated])


def test_the_scores_beside_a_cell_are_those_of_the_table(study):
    browser = listen.table_browser(Place(study[0], PROFILE), study[2], study[1])
    menus, below = browser.children[0].children, browser.children[1]
    table = study[2].query("concept == 'harp' and method == 'DB' and setup == 'BL'")
    menus[0].value, menus[1].value, menus[3].value = "harp", "DB BL", "genre-jazz"
    value = table.query("metric == 'clap_t' and prompt == 'genre-jazz'")["value"].item()
    assert f"CLAP-T {value:.3f} (n = 1)" in below.value
    menus[3].value = "reconstruction"
    value = table.query("metric == 'clap_a'")["value"].item()
    assert f"CLAP-A {value:.3f} (n = 2)" in below.value


def test_a_choice_that_another_concept_has_too_is_kept(study):
    browser = listen.table_browser(Place(study[0], PROFILE), study[2], study[1])
    menus = browser.children[0].children
    menus[0].value, menus[1].value, menus[3].value = "harp", "TI BL", "genre-jazz"
    menus[0].value = "lute"
    assert [menu.value for menu in menus] == ["lute", "TI BL", 0, "genre-jazz"]


def test_a_missing_clip_and_a_strange_prompt_are_words_on_the_page(study):
    clips = listen.run_clips(Place(study[0], PROFILE)).head(1)
    clips["path"].iloc[0].unlink()
    html = listen.cell_html(clips.assign(prompt="<script>"), study[2], study[1])
    assert "reconstruction-0.wav is missing" in html and "<script>" not in html


def test_a_damaged_clip_is_named_with_the_remedy_and_not_played(study):
    path = clip(study, "lute", "DB-BL", "reconstruction-0.wav")
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    clips = listen.run_clips(Place(study[0], PROFILE)).query("damage != ''")
    assert clips["path"].tolist() == [path]
    html = listen.cell_html(clips, study[2], study[1])
    assert "its content is not what was written" in html and "run the notebook that made it again" in html
    assert len(sounds(html)) == 2


def test_a_damaged_listing_is_refused_by_its_name(study):
    path = clip(study, "lute", "DB-BL", "clips.csv")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"lute/DB-BL/seed0/clips/clips\.csv: damaged"):
        listen.run_clips(Place(study[0], PROFILE))


def test_the_static_table_has_the_concepts_own_clip_and_one_of_every_setup(study):
    shown = listen.players(listen.run_clips(Place(study[0], PROFILE)), own_concepts=study[1])
    assert len(sounds(shown.data)) == 2 * (1 + 4)
    assert are_clips(sounds(shown.data)[:1], [study[1][1] / "0.wav"])
    with pytest.raises(ValueError, match="no clips of prompt 'x'"):
        listen.players(listen.run_clips(Place(study[0], PROFILE)), "x")


def test_a_failed_cell_says_why(study):
    row = pd.Series({"concept": "lute", "method": "DB", "setup": "BL", "seed": 0, "kind": "reconstruction"})
    table = study[2].assign(status="failed", note="a.wav: silent")
    assert "CLAP-A failed: a.wav: silent" in listen.scores(table, row)


def test_of_a_long_recording_what_the_model_hears_is_in_the_page(tmp_path):
    long = tmp_path / "long.wav"
    soundfile.write(long, np.random.default_rng(0).normal(scale=0.1, size=(44100 * 30, 2)), 44100)
    assert long.stat().st_size > 5e6 and len(listen.player(long)) < 200_000
    sound = base64.b64decode(listen.player(long).partition("base64,")[2].partition("'")[0])
    assert soundfile.info(io.BytesIO(sound)).duration == pytest.approx(10.24)
