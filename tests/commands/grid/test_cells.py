"""The cells of a grid: which they are, what each makes, and when it is done."""

import numpy as np
import pytest
from grid_stub import cell_of, make_here

from tmp_utils.commands.grid.cells import NOTEBOOK_05, UNTRAINED_CELL, Cell, cells, choose_setups
from tmp_utils.files import write_json
from tmp_utils.inputs.audio import save_clip
from tmp_utils.inputs.profiles import list_setups
from tmp_utils.runs.integrity import MANIFEST, read_manifest
from tmp_utils.runs.place import Place


def of_grid(place, setups, seeds=(0,), concepts=("sitar",)) -> dict[str, Cell]:
    chosen = cells(Place(place / "runs", "pocket"), concepts, choose_setups(setups), seeds, place / "notebooks")
    return {cell.name: cell for cell in chosen}


def test_setups_are_chosen_by_name_by_method_or_all():
    assert [s.name for s in choose_setups(["TI-MW", "TI-BL", "TI-MW"])] == ["TI-MW", "TI-BL"]
    assert {s.method for s in choose_setups(["TI"])} == {"TI"} and len(choose_setups(["paper"])) == 10
    assert choose_setups(["all"]) == list_setups()
    with pytest.raises(ValueError, match=r'unknown setup "XX"; choose all, paper, a method'):
        choose_setups(["XX"])


def test_a_grid_is_every_cell_once_after_the_untrained_backbone(place):
    grid = of_grid(place, ["TI-BL", "DB-MIX"], (0, 1, 0))
    assert list(grid) == [f"sitar/{s}/seed{k}" for k in (0, 1) for s in (UNTRAINED_CELL, "TI-BL", "DB-MIX")]
    one = grid["sitar/DB-MIX/seed1"]
    assert one.first == [UNTRAINED_CELL] and grid[f"sitar/{UNTRAINED_CELL}/seed1"].first == []
    assert (one.parameters["setups"], one.parameters["seeds"]) == (["MIX"], [1])
    assert one.parameters["in_depth"] is False, "a grid trains what it was asked for, and nothing beside it"
    assert one.run == Place(place / "runs", "pocket").run("sitar", "DB", "MIX", 1)


def test_a_method_that_is_shown_beside_dreambooth_waits_for_it(place):
    grid = of_grid(place, ["DB-LoRA"])
    lora = grid["sitar/DB-LoRA-BL/seed0"]
    assert lora.first == [UNTRAINED_CELL, "DB-BL"] and "sitar/DB-BL/seed0" in grid
    assert (lora.parameters["setups"], lora.parameters["others"]) == (["BL"], ["DB-LoRA"])


@pytest.mark.parametrize("setup", [setup.name for setup in list_setups()] + [UNTRAINED_CELL, NOTEBOOK_05])
def test_a_cell_is_made_by_the_notebook_of_its_method(place, setup):
    cell = cell_of(place, setup)
    number = {"TI": "02", "untrained": None, "metrics": "05"}.get(setup.split("-")[0], "03")
    number = "03" if setup == "TI-DB-BL" else number
    assert cell.notebook is None if number is None else cell.notebook.name == f"{number}_stub.ipynb"


def test_two_folders_that_would_be_one_concept_are_refused(place):
    for part in "ab":
        folder = place / part / "drums"
        folder.mkdir(parents=True)
        save_clip(folder / "0.wav", np.full(16000, 0.1 if part == "a" else 0.2))
        (folder / "concept.toml").write_text('class_noun = "drums"')
    with pytest.raises(ValueError, match=r'a/drums and .*b/drums would both be "drums"; rename one'):
        of_grid(place, ["TI-BL"], concepts=(str(place / "a/drums"), str(place / "b/drums")))
    assert len(of_grid(place, ["TI-BL"], concepts=(str(place / "a/drums"), str(place / "a/drums")))) == 2


def test_a_finished_run_of_other_settings_is_not_taken_for_the_cells_own(place):
    cell = cell_of(place, "TI-BL")
    assert not cell.done
    make_here(cell)
    assert cell.done
    manifest = read_manifest(cell.run)
    other = cell.identity["hyperparameters"] | {"lr": 999.0}
    for parameters, done in ((cell.identity, True), (cell.identity | {"hyperparameters": other}, False)):
        write_json(cell.run / MANIFEST, manifest | {"parameters": manifest["parameters"] | parameters})
        assert cell.done is done
    (cell.run / MANIFEST).unlink()
    assert not cell.done, "its run was deleted"
