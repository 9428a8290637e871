"""Parameters of notebooks, as they are typed."""

import pytest

from tmp_utils.inputs.parameters import listed, seeds_of


def test_lists_are_understood_as_a_command_line_gives_them():
    assert listed('["BL", "MW"]') == listed(["BL", "MW"]) == ["BL", "MW"] and listed("BL") == ["BL"]
    assert listed("/a folder/[x]") == ["/a folder/[x]"] and listed(0.5) == [0.5]
    assert listed("", may_be_empty=True) == listed("[]", may_be_empty=True) == listed([], may_be_empty=True) == []
    for empty in ("", "[]", []):
        with pytest.raises(ValueError, match="an empty list: name at least one"):
            listed(empty)
    with pytest.raises(ValueError, match=r"is not a list .* double quotes"):
        listed("['BL', 'MW']")


def test_seeds_are_understood_as_a_command_line_gives_them():
    for said in (0, "0", [0], "[0]"):
        assert seeds_of(said) == [0]
    for said in ("0 1", "0,1", "0, 1", "[0, 1]", [0, 1, 0], ["0", "1"]):
        assert seeds_of(said) == [0, 1]
    for wrong in ("", "two", ["a"], [], "0-3", [None], 0.7, [1.5]):
        with pytest.raises(ValueError, match="expected whole numbers"):
            seeds_of(wrong)
