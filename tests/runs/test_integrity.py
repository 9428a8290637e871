"""A finished run knows its files: damage is named, and made again by running again."""

import json

import pytest
from results_runs import ToneEmbedder, use_quick_ears, use_tone_embedder

from tmp_utils.inputs.profiles import load_setup
from tmp_utils.runs.integrity import check_files, record
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import Lab, run_setup

pytestmark = pytest.mark.usefixtures("short_clips")
DAMAGES = {
    "cut": lambda data: data[:-7],
    "emptied": lambda data: b"",
    "zeroed": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
}


@pytest.fixture(scope="module")
def finished(backbone, concept, blank_folder, tmp_path_factory):
    """A finished run of Textual Inversion, and how to make it again."""
    from dataclasses import replace

    from tmp_utils.inputs.profiles import load_profile

    smoke = load_profile("smoke")
    methods = {**smoke.methods, "TI": {**smoke.methods["TI"], "steps": 2, "batch_size": 2}}
    counts = {"reconstruction_clips": 1, "clips_per_prompt": 1, "n_editability_prompts": 1, "inference_steps": 1}
    profile = replace(smoke, backbone=str(blank_folder), clip_s=1.28, methods=methods, **counts)
    lab = Lab(profile, backbone, ToneEmbedder("clap:tones"), Place(tmp_path_factory.mktemp("runs"), profile.name))
    messages = []

    def again():
        return run_setup(lab, concept, load_setup("TI", "BL"), 0, messages.append), messages

    with pytest.MonkeyPatch.context() as patch:
        use_quick_ears(patch)
        use_tone_embedder(patch)
        yield again


VARYING = ("run.json", "cost.json")  # they hold times
CASES = (  # each file once, each damage twice
    ("adapter.safetensors", "cut"),
    ("adapter.json", "emptied"),
    ("README.md", "removed"),
    ("history.csv", "zeroed"),
    ("metrics.csv", "emptied"),
    ("clips/clips.csv", "cut"),
    ("clips/SHA256SUMS", "removed"),
    ("clips/reconstruction-0.flac", "zeroed"),
)


@pytest.mark.parametrize(("file", "damage"), CASES)
def test_a_damaged_file_of_a_finished_run_is_named_and_made_again(finished, file, damage):
    folder, messages = finished()
    whole = {
        path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in VARYING
    }
    if damage == "removed":
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(DAMAGES[damage](whole[folder / file]))
    with pytest.raises(ValueError, match=rf"{file}: damaged .*Run the notebook that made it again"):
        check_files(folder, file)
    messages.clear()
    assert finished()[0] == folder
    assert f"damaged files are made again ({file}: " in messages[0]
    assert all(path.read_bytes() == data for path, data in whole.items())
    messages.clear()
    finished()
    assert len(messages) == 1 and "already done" in messages[0]


def test_a_copy_with_other_times_is_whole_and_later_scores_are_entered(finished):
    folder, _ = finished()
    (folder / "history.csv").touch()
    check_files(folder, "history.csv")
    assert "README.md" in json.loads((folder / "run.json").read_text())["files"], "the adapter's card is checked too"
    assert "(clips/reconstruction-0.flac)" in (folder / "README.md").read_text(encoding="utf-8")
    (folder / "metrics.csv").write_text("scored again")
    record(folder, "metrics.csv")
    check_files(folder, "metrics.csv")
    assert json.loads((folder / "run.json").read_text())["files"]["metrics.csv"]["bytes"] == 12
