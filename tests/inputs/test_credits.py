"""The line that credits a shipped recording, and that nothing else has one."""

import re
from dataclasses import replace

import pytest

from tmp_utils.inputs.concepts import catalogue, load_concept
from tmp_utils.inputs.credits import credits_of, folder_credit
from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.sources import read_source

RECORDINGS = list(catalogue().query("origin == 'recording'")["name"])


def test_every_shipped_recording_has_one_line_with_what_its_licence_asks_for():
    for name in RECORDINGS:
        (credit,) = credits_of(load_concept(name))
        source = read_source(DATA_DIR / "clips" / name)
        assert source["title"].partition(",")[0].partition(" (")[0] in credit.line
        assert credit.licence == source["licence"] and "\n" not in credit.line
        assert credit.line.endswith("cut and resampled.")
        if credit.licence.startswith("CC BY"):
            assert re.search(rf"\({credit.licence}, https?://creativecommons.org/licenses/", credit.line)


def test_stand_ins_and_own_folders_have_none_and_do_not_fail(concept, tmp_path):
    assert credits_of(load_concept("koto"), ["DB-MIX"]) == [] == credits_of(concept)
    (tmp_path / "SOURCE.toml").write_text("not of this project")
    assert folder_credit(tmp_path) is None
    assert credits_of(None) == []


def test_recorded_backgrounds_are_credited_where_a_recording_was_mixed_with_them(concept):
    backgrounds = folder_credit(DATA_DIR / "backgrounds" / "recorded")
    tenor = load_concept("tenor")
    assert credits_of(tenor, ["TI-BL", "DB-MIX"]) == [*credits_of(tenor), backgrounds]
    assert credits_of(tenor, ["TI-BL", "untrained-class-noun"]) == credits_of(tenor)
    assert credits_of(replace(concept, stand_in=False), ["TI-MIX"]) == [backgrounds] == credits_of(None, ["TI-MIX"])


def test_a_shipped_recording_without_its_licence_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "clips" / "tenor"
    folder.mkdir(parents=True)
    (folder / "SOURCE.toml").write_bytes((DATA_DIR / "clips" / "tenor" / "SOURCE.toml").read_bytes())
    monkeypatch.setattr("tmp_utils.inputs.credits.DATA_DIR", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"its licence file .* is missing"):
        folder_credit(folder)
