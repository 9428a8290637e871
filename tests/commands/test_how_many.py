"""The table of trainings grows, and is never made of two kinds of clips."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from filelock import FileLock

from tmp_utils.commands.how_many import FOLDER, make_curves, more_clips_of
from tmp_utils.findings.published import read_if_there
from tmp_utils.inputs.audio import save_clip
from tmp_utils.inputs.profiles import load_setup

SETUPS = [load_setup(method, "BL") for method in ("TI", "DB")]


@pytest.fixture
def make(monkeypatch, tmp_path):
    """Make the curves of a concept that is called koto, without any training; what was trained."""
    trained = []

    class Task:
        version = "first"

        def __init__(self, lab, concept, seed, most):
            self.concept, self.seed = concept, seed

        def identity(self, setup, n_clips):
            return f"{self.version}-{setup.method}-{n_clips}"

        def curve(self, setup, n_clips, folder):
            trained.append((setup.method, n_clips))
            row = {"concept": self.concept.name, "method": setup.method, "n_clips": n_clips, "seed": self.seed}
            return pd.DataFrame([row | {"step": 0, "value": 0.1, "identity": self.identity(setup, n_clips)}])

    monkeypatch.setattr("tmp_utils.commands.how_many.HowMany", Task)
    lab = SimpleNamespace(place=SimpleNamespace(folder=tmp_path / "runs"))

    def make(counts, version="first"):
        Task.version = version
        trained.clear()
        return make_curves(lab, [SimpleNamespace(name="koto")], SETUPS, counts, [0], tmp_path / "table.csv"), list(
            trained
        )

    return make


def test_a_table_grows_by_what_it_lacks(make, tmp_path):
    assert make([1]) == (0, [("TI", 1), ("DB", 1)])
    assert make([1, 5]) == (0, [("TI", 5), ("DB", 5)])
    table = read_if_there(tmp_path / "table.csv")
    assert list(zip(table["method"], table["n_clips"], strict=True)) == [("TI", 1), ("DB", 1), ("TI", 5), ("DB", 5)]


def test_a_training_of_other_clips_is_refused_before_anything_is_trained(make, tmp_path):
    make([1])
    before = (tmp_path / "table.csv").read_bytes()
    with pytest.raises(ValueError, match=r"made with other clips, words, models or hyperparameters.*--table"):
        make([5, 1], version="second")
    assert (tmp_path / "table.csv").read_bytes() == before


def test_what_another_process_makes_is_left_to_it(make, tmp_path):
    folder = tmp_path / "runs" / FOLDER
    folder.mkdir(parents=True)
    with FileLock(folder / "first-TI-1.lock"):
        assert make([1]) == (1, [("DB", 1)])
    assert make([1]) == (0, [("TI", 1)])


def test_a_concept_takes_all_clips_of_its_folder_and_its_words_from_the_catalogue(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"koto: there is no folder .*stand-ins --only koto --takes 26"):
        more_clips_of("koto", tmp_path, 2)
    (tmp_path / "koto").mkdir()
    names = [f"koto_{k:02}.wav" for k in range(8)]
    for name in names:
        save_clip(tmp_path / "koto" / name, [0.1] * 1600)
    concept = more_clips_of("koto", tmp_path, 2)
    assert [Path(path).name for path in concept.clips] == names and concept.class_noun == "string instrument"
    with pytest.raises(ValueError, match=r"koto: 8 clips in .*, but 26 are needed"):
        more_clips_of("koto", tmp_path, 20)
