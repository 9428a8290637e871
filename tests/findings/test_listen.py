"""Players for any cell of the table: the right clips, as they are, also where no kernel runs."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from results_runs import PROFILE, make_study, use_quick_ears, use_tone_embedder

from tmp_utils.findings import listen, results
from tmp_utils.runs.place import Place


@pytest.fixture
def study(tmp_path, monkeypatch):
    use_quick_ears(monkeypatch)
    use_tone_embedder(monkeypatch)
    folder, own = make_study(tmp_path, ("lute", "harp"), (("DB", "BL"), ("TI", "BL")))
    return folder, own, results.collect_results(Place(folder, PROFILE), own, say=lambda line: None)


def sounds(html):
    return [base64.b64decode(found) for found in re.findall(r"src='data:audio/wav;base64,([^']*)'", html)]


def content(study, concept, variant, file):
    return (study[0] / PROFILE / concept / variant / "seed0" / "clips" / file).read_bytes()


def test_every_clip_of_every_run_is_listed(study):
    clips = listen.run_clips(Place(study[0], PROFILE))
    assert len(clips) == 2 * 3 * (2 + 2)
    assert all(path.is_file() for path in clips["path"])
    with pytest.raises(FileNotFoundError, match=r"no clips in the runs below .*pocket"):
        listen.run_clips(Place(study[0], "pocket"))


def test_the_browser_plays_the_cell_that_is_chosen_bit_for_bit(study):
    browser = listen.table_browser(Place(study[0], PROFILE), study[2], study[1])
    menus, below = browser.children[0].children, browser.children[1]
    own = [(study[1][0] / f"{k}.wav").read_bytes() for k in range(2)]
    menus[0].value, menus[1].value, menus[3].value = "lute", "TI BL", "genre-jazz"
    assert sounds(below.value) == [*own, content(study, "lute", "TI-BL", "genre-jazz-0.wav")]
    menus[3].value = "reconstruction"
    made = [content(study, "lute", "TI-BL", f"reconstruction-{k}.wav") for k in range(2)]
    assert sounds(below.value) == [*own, *made]


def test_the_scores_beside_a_cell_are_those_of_the_table(study):
    browser = listen.table_browser(Place(study[0], PROFILE), study[2], study[1])
    menus, below = browser.children[0].children, browser.children[1]
    table = study[2].query("concept == 'harp' and method == 'DB' and setup == 'BL'")
    menus[0].value, menus[1].value, menus[3].value = "harp", "DB BL", "genre-jazz"
    value = table.query("metric == 'clap_t' and prompt == 'genre-jazz'")["value"].item()
    assert f"clap t {value:.3f} (n = 1)" in below.value
    menus[3].value = "reconstruction"
    value = table.query("metric == 'clap_a'")["value"].item()
    assert f"clap a {value:.3f} (n = 2)" in below.value


def test_a_choice_that_another_concept_has_too_is_kept(study):
    browser = listen.table_browser(Place(study[0], PROFILE), study[2], study[1])
    menus = browser.children[0].children
    menus[0].value, menus[1].value, menus[3].value = "harp", "TI BL", "genre-jazz"
    menus[0].value = "lute"
    assert [menu.value for menu in menus] == ["lute", "TI BL", 0, "genre-jazz"]


def test_a_missing_clip_and_a_strange_prompt_are_words_on_the_page(study):
    clips = (
        listen.run_clips(Place(study[0], PROFILE))
        .query("concept == 'lute' and setup == 'MIX' or setup == 'BL'")
        .head(1)
    )
    clips["path"].iloc[0].unlink()
    html = listen.cell_html(clips.assign(prompt="<script>"), study[2], study[1])
    assert "reconstruction-0.wav is missing" in html and "<script>" not in html


def test_the_static_table_has_the_concepts_own_clip_and_one_of_every_setup(study):
    shown = listen.players(listen.run_clips(Place(study[0], PROFILE)), own_concepts=study[1])
    assert len(sounds(shown.data)) == 2 * (1 + 3)
    assert sounds(shown.data)[0] == (study[1][1] / "0.wav").read_bytes()
    with pytest.raises(ValueError, match="no clips of prompt 'x'"):
        listen.players(listen.run_clips(Place(study[0], PROFILE)), "x")


def test_a_failed_cell_says_why(study):
    row = pd.Series({"concept": "lute", "method": "DB", "setup": "BL", "seed": 0, "kind": "reconstruction"})
    table = study[2].assign(status="failed", note="a.wav: silent")
    assert "clap a failed: a.wav: silent" in listen.scores(table, row)


def test_of_a_long_recording_what_the_model_hears_is_in_the_page(tmp_path):
    long = tmp_path / "long.wav"
    soundfile.write(long, np.random.default_rng(0).normal(scale=0.1, size=(44100 * 30, 2)), 44100)
    assert long.stat().st_size > 5e6 and len(listen.player(long)) < 500_000
    sound = base64.b64decode(listen.player(long).partition("base64,")[2].partition("'")[0])
    assert soundfile.info(io.BytesIO(sound)).duration == pytest.approx(10.24)
