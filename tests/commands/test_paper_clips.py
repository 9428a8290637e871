"""Fetching the paper's clips, with a runner in place of yt-dlp."""

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tmp_utils.commands import paper_clips
from tmp_utils.commands import run as command
from tmp_utils.commands.paper_clips import fetch_paper_clips
from tmp_utils.inputs import concepts

SOUND = (0.4 * np.sin(np.arange(11 * 44_100) / 20)).astype("float32")


class Downloader:
    """Writes 11 s of 44.1 kHz stereo where yt-dlp would, unless the start time is one that fails."""

    def __init__(self, failing=()):
        self.failing, self.asked = failing, []

    def __call__(self, command):
        start = command[command.index("--download-sections") + 1]
        self.asked.append((command[-1].rpartition("=")[2], start))
        if start in self.failing:
            return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: Video unavailable")
        path = Path(command[command.index("-o") + 1].replace("%(ext)s", "wav"))
        soundfile.write(path, np.stack([SOUND, SOUND], axis=1), 44_100)
        return subprocess.CompletedProcess(command, 0, "", "")


def test_the_asked_sections_become_ten_second_clips_with_a_hash(tmp_path):
    run = Downloader()
    rows = fetch_paper_clips(tmp_path, ["cajon"], run)
    assert run.asked == [("gSKCL_Z_UQQ", f"*{s}-{s + 10}") for s in (60, 70, 80, 90, 100)]
    assert list(rows["status"]) == ["fetched"] * 5
    for row in rows.to_dict("records"):
        assert row["sha256"] == hashlib.sha256((tmp_path / row["file"]).read_bytes()).hexdigest()
        assert soundfile.info(tmp_path / row["file"]).duration == pytest.approx(10)
        assert soundfile.info(tmp_path / row["file"]).samplerate == 16_000


def test_a_failure_is_recorded_and_the_rest_goes_on_and_only_it_is_tried_again(tmp_path):
    rows = fetch_paper_clips(tmp_path, ["cajon"], Downloader(failing=("*70-80",)))
    assert list(rows["status"]) == ["fetched", "failed", "fetched", "fetched", "fetched"]
    assert rows["note"][1] == "ERROR: Video unavailable"
    again = Downloader()
    assert list(fetch_paper_clips(tmp_path, ["cajon"], again)["status"]) == ["fetched"] * 5
    assert again.asked == [("gSKCL_Z_UQQ", "*70-80")]


def test_an_interruption_keeps_what_was_fetched_and_its_rows(tmp_path):
    fetch, calls = Downloader(), []

    def interrupted(command):
        calls.append(command)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fetch(command)

    with pytest.raises(KeyboardInterrupt):
        fetch_paper_clips(tmp_path, ["cajon"], interrupted)
    manifest = pd.read_csv(tmp_path / "manifest.csv")
    assert list(manifest["status"]) == ["fetched"] * 2
    assert sorted(p.name for p in tmp_path.rglob("*.wav")) == ["cajon_1.wav", "cajon_2.wav"]


def test_the_manifest_keeps_the_rows_of_other_concepts(tmp_path):
    fetch_paper_clips(tmp_path, ["cajon"], Downloader())
    fetch_paper_clips(tmp_path, ["oud", "gtr"], Downloader())
    manifest = pd.read_csv(tmp_path / "manifest.csv", keep_default_na=False)
    assert manifest["name"].value_counts().to_dict() == {"cajon": 5, "oud": 5, "gtr": 1}


def test_a_recording_without_an_address_says_how_to_get_it(tmp_path):
    run = Downloader()
    (row,) = fetch_paper_clips(tmp_path, ["amen"], run).to_dict("records")
    assert row["status"] == "by hand" and "Freesound" in row["note"]
    assert run.asked == []


def test_living_peoples_voices_are_never_fetched(tmp_path):
    with pytest.raises(ValueError, match="eminem: cannot be fetched; choose from agni_parthene"):
        fetch_paper_clips(tmp_path, ["eminem"], Downloader())


def test_a_page_instead_of_a_sound_counts_as_a_failure(tmp_path):
    def page(command):
        Path(command[command.index("-o") + 1].replace("%(ext)s", "wav")).write_text("<html>sign in</html>")
        return subprocess.CompletedProcess(command, 0, "", "")

    rows = fetch_paper_clips(tmp_path, ["oud"], page)
    assert set(rows["status"]) == {"failed"}
    assert "not readable as sound" in rows["note"][0]
    assert not list(tmp_path.rglob("*.wav"))


def test_a_download_that_hangs_counts_as_a_failure(tmp_path):
    def hang(command):
        raise subprocess.TimeoutExpired(command, 300)

    assert set(fetch_paper_clips(tmp_path, ["oud"], hang)["note"]) == {"no answer within 300 s"}


def test_fetched_clips_are_a_concept(tmp_path, monkeypatch):
    fetch_paper_clips(tmp_path, ["oud"], Downloader())
    monkeypatch.setattr(concepts, "PAPER_CLIPS_DIR", tmp_path)
    assert [p.name for p in concepts.load_concept("paper/oud").clips] == [f"oud_{k}.wav" for k in range(1, 6)]


@pytest.fixture
def online(monkeypatch):
    """Reach the videos' site, with the tools; the downloader is yours to set."""
    monkeypatch.setattr(paper_clips, "is_online", lambda: True)
    monkeypatch.setattr(paper_clips, "_missing_tools", list)
    return lambda run: monkeypatch.setattr(paper_clips, "run_command", run)


def test_without_a_network_there_is_one_line_and_a_non_zero_exit(tmp_path, capsys, online, monkeypatch):
    run = Downloader()
    online(run)
    monkeypatch.setattr(paper_clips, "is_online", lambda: False)
    assert command(["clips-paper", "--folder", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "no network: www.youtube.com cannot be reached" in err
    assert run.asked == [] and not list(tmp_path.iterdir())


def test_the_command_sums_up_and_fails_where_a_clip_could_not_be_fetched(tmp_path, capsys, online):
    online(Downloader())
    assert command(["clips-paper", "cajon", "gtr", "--folder", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "5 fetched" in out and "gtr: recorded by the paper's authors" in out
    online(Downloader(["*10-20"]))
    assert command(["clips-paper", "cajon", "oud", "--folder", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "fetched" in out and "oud/oud_1.wav: ERROR: Video unavailable" in out
