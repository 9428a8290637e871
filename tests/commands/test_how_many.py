"""The table of trainings grows, and is never made of two kinds of clips."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from filelock import FileLock

from tmp_utils.commands.how_many import DEFAULT_METHODS, FOLDER, main, make_curves, with_more_clips
from tmp_utils.findings.published import read_if_there
from tmp_utils.inputs.audio import save_clip
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.runs.how_many import CLIP_COUNTS

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
            (folder / self.identity(setup, n_clips)).mkdir(exist_ok=True)
            row = {"concept": self.concept.name, "method": setup.method, "n_clips": n_clips, "seed": self.seed}
            return pd.DataFrame([row | {"step": 0, "value": 0.1, "identity": self.identity(setup, n_clips)}])

    monkeypatch.setattr("tmp_utils.commands.how_many.HowMany", Task)
    lab = SimpleNamespace(place=SimpleNamespace(folder=tmp_path / "runs"))

    def make(counts, version="first", table="table.csv"):
        Task.version = version
        trained.clear()
        return make_curves(lab, [SimpleNamespace(name="koto")], SETUPS, counts, [0], tmp_path / table), list(trained)

    make.trained = trained

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


def test_a_table_that_cannot_be_written_is_refused_before_anything_is_trained(make, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file cannot be a folder: a part of its path is a file"):
        make([1], table="file/table.csv")
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        make([1], table=".")
    assert make.trained == []
    assert make([1], table="new/folder/table.csv") == (0, [("TI", 1), ("DB", 1)])


def test_checkpoints_stay_until_the_table_is_written(make, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr("tmp_utils.commands.how_many.write_csv", full)
        make([1])
    assert (tmp_path / "runs" / FOLDER / "first-TI-1").is_dir()
    make([1])
    assert not [path for path in (tmp_path / "runs" / FOLDER).iterdir() if path.is_dir()]


def test_what_another_process_makes_is_left_to_it(make, tmp_path):
    folder = tmp_path / "runs" / FOLDER
    folder.mkdir(parents=True)
    with FileLock(folder / "first-TI-1.lock"):
        assert make([1]) == (1, [("DB", 1)])
    assert make([1]) == (0, [("TI", 1)])


def test_a_concept_takes_all_clips_of_its_folder_and_its_words_from_the_catalogue(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder koto, taiko\. .*stand-ins --only koto taiko --takes 8 "):
        with_more_clips(["koto", "taiko"], tmp_path, 2)
    (tmp_path / "koto").mkdir()
    names = [f"koto_{k:02}.wav" for k in range(8)]
    for name in names:
        save_clip(tmp_path / "koto" / name, [0.1] * 1600)
    (concept,) = with_more_clips(["koto"], tmp_path, 2)
    assert [Path(path).name for path in concept.clips] == names and concept.class_noun == "string instrument"
    with pytest.raises(ValueError, match=r"koto: 8 clips in .*, but 26 are needed"):
        with_more_clips(["koto"], tmp_path, 20)


def test_without_concepts_those_of_the_file_are_learned_from_26_clips_each(tmp_path):
    chosen = {"concepts": [], "counts": CLIP_COUNTS, "methods": DEFAULT_METHODS, "clips": tmp_path}
    with pytest.raises(FileNotFoundError, match=r"--only breakbeat samba .* steel_drums --takes 26 "):
        main(SimpleNamespace(**chosen))
    with pytest.raises(ValueError, match="--counts 0: a training needs one clip or more"):
        main(SimpleNamespace(**chosen | {"counts": [5, 0]}))
