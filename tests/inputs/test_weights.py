"""Weights are those of their first use, and of the commit that an id names."""

import hashlib

import pytest

from tmp_utils.inputs.weights import check_recorded, split_revision


def test_a_file_that_changes_after_its_first_use_is_refused_with_both_hashes(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"first")
    digest = hashlib.sha256(b"first").hexdigest()
    assert check_recorded(path) == check_recorded(path) == digest
    assert (tmp_path / "model.pth.sha256").read_text() == f"{digest}  model.pth\n"  # as sha256sum -c reads it
    path.write_bytes(b"other")
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ValueError, match=f"is {other}, and was {digest} .* delete model.pth.sha256"):
        check_recorded(path)
    (tmp_path / "model.pth.sha256").unlink()
    assert check_recorded(path) == other


def test_an_id_may_name_a_commit():
    assert split_revision("cvssp/audioldm-m-full@0123abc") == ("cvssp/audioldm-m-full", "0123abc")
    assert split_revision("cvssp/audioldm-m-full") == ("cvssp/audioldm-m-full", None)
