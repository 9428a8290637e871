"""Sources and licences of the shipped recordings, and what is refused without them."""

import shutil

import pytest

from tmp_utils.inputs import concepts, mixtures
from tmp_utils.inputs.concepts import load_concept
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.sources import SOURCE_NAME, read_source


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(DATA_DIR / "clips" / "tenor", tmp_path / "clips" / "tenor")


def edit(folder, old, new):
    text = (folder / SOURCE_NAME).read_text()
    assert old in text
    (folder / SOURCE_NAME).write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title = ", "titel = ", r"title = None; expected a str that is not empty"),
        ("licence_file = ", "licence_name = ", r"licence_file = None; expected the name of the licence's text"),
        ("[[clips]]", "[[clips", "not TOML"),
        ("start_s = ", "start = ", "a clip without start_s"),
        ("[sources.", "[sources.other_", "which is not under \\[sources\\]"),
    ],
)
def test_a_source_that_is_wrong_is_refused(folder, old, new, message):
    edit(folder, old, new)
    with pytest.raises(ValueError, match=rf"SOURCE\.toml: .*{message}"):
        read_source(folder)


def test_a_recording_of_the_catalogue_is_not_loaded_without_its_source_and_licence(folder, tmp_path, monkeypatch):
    shutil.copy(DATA_DIR / "concepts.csv", tmp_path)
    monkeypatch.setattr(concepts, "DATA_DIR", tmp_path)
    assert len(load_concept("tenor").clips) == 5
    shutil.copy(folder / "tenor_1.ogg", folder / "mine.OGG")
    with pytest.raises(ValueError, match=r"mine\.OGG: not listed under \[\[clips\]\] .* List it there, or move it out"):
        load_concept("tenor")
    (folder / "mine.OGG").unlink()
    (folder / "PUBLIC-DOMAIN.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"tenor: its licence file PUBLIC-DOMAIN\.txt is missing\. Restore"):
        load_concept("tenor")
    (folder / SOURCE_NAME).unlink()
    with pytest.raises(FileNotFoundError, match=r"tenor: no SOURCE\.toml, so its makers and licence are unknown"):
        load_concept("tenor")


def test_stems_and_recorded_backgrounds_are_not_loaded_without_their_source(tmp_path, monkeypatch):
    for module, name in ((concepts, "backgrounds/recorded"), (mixtures, "stems/freedom_backing")):
        shutil.copytree(DATA_DIR / name, tmp_path / name)
        (tmp_path / name / SOURCE_NAME).unlink()
        monkeypatch.setattr(module, "DATA_DIR", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"recorded: no SOURCE\.toml"):
        concepts.backgrounds(recorded=True)
    shutil.copy(DATA_DIR / "concepts.csv", tmp_path)
    shutil.copy(DATA_DIR / "mixtures.csv", tmp_path)
    monkeypatch.setattr(concepts, "DATA_DIR", DATA_DIR)
    with pytest.raises(FileNotFoundError, match=r"freedom_backing: no SOURCE\.toml"):
        mixtures.load_mixture("freedom")
