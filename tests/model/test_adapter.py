import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from adapters import SETUPS, clip_of
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tmp_utils.inputs.profiles import load_setup
from tmp_utils.model.blank import blank_pipeline
from tmp_utils.model.families import backbone_of
from tmp_utils.personalize import load_adapter, personalise

by_name = pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name)


def snapshot(backbone):
    parts = (backbone.unet, backbone.vae, backbone.text_encoder, backbone.vocoder)
    states = [{k: v.clone() for k, v in part.state_dict().items()} for part in parts]
    parameters = [parameter for part in parts for parameter in part.parameters()]
    return states, parameters, len(backbone.tokenizer), dict(backbone.overrides), backbone.adapter


def unchanged(before, backbone):
    after = snapshot(backbone)
    tensors = all(
        old.keys() == new.keys() and all(torch.equal(old[k], new[k]) for k in old)
        for old, new in zip(before[0], after[0], strict=True)
    )
    return tensors and all(a is b for a, b in zip(before[1], after[1], strict=True)) and before[2:] == after[2:]


@by_name
def test_applying_changes_the_sound_and_removing_leaves_no_trace(backbone, adapters, learned, setup):
    before, plain = snapshot(backbone), learned("")
    adapter = adapters[setup.name]
    with adapter.applied(backbone):
        assert not unchanged(before, backbone)
        assert not np.array_equal(clip_of(backbone, None, adapter.phrase()), plain)
    assert unchanged(before, backbone)
    with pytest.raises(KeyError, match="midway"), adapter.applied(backbone):
        raise KeyError("midway")
    assert unchanged(before, backbone)
    assert np.array_equal(clip_of(backbone, None, "guitar"), plain)


@by_name
def test_a_saved_adapter_gives_the_same_clips(backbone, adapters, learned, setup, tmp_path):
    adapter = adapters[setup.name]
    loaded = load_adapter(adapter.save(tmp_path / "adapter"))
    assert loaded.header() == adapter.header()
    assert np.array_equal(clip_of(backbone, loaded), learned(setup.name))


def test_dreambooth_keeps_only_what_changed(backbone, adapters):
    kept, te = adapters["DB-BL"].tensors, adapters["DB-TE"].tensors
    assert all(name.startswith("unet.") for name in kept)
    assert any(name.startswith("text_encoder.") for name in te)
    assert not any(torch.equal(tensor, backbone.parameter(name)) for name, tensor in {**kept, **te}.items())


def test_an_adapter_of_another_backbone_is_refused(adapters):
    other = backbone_of(blank_pipeline(seed=1), "other")
    with pytest.raises(ValueError, match=r"learned on .* but this backbone is"), adapters["TI-BL"].applied(other):
        pass


def test_a_second_adapter_on_top_is_refused(backbone, adapters):
    first, second = adapters["TI-BL"], adapters["DB-BL"]
    with first.applied(backbone):
        with pytest.raises(RuntimeError, match="tones TI-BL, seed 0 is applied"), second.applied(backbone):
            pass
        assert backbone.adapter == first.name
    with second.applied(backbone):
        assert backbone.adapter == second.name


def test_training_on_top_of_an_adapter_is_refused(backbone, adapters, concept, profile):
    with adapters["TI-BL"].applied(backbone), pytest.raises(RuntimeError, match="leave its `with` block"):
        personalise(backbone, concept, load_setup("TI", "BL"), 0, profile=profile)


def test_a_damaged_adapter_is_called_so(adapters, tmp_path):
    folder = adapters["TI-BL"].save(tmp_path / "adapter")

    def damaged(file, content):
        copy = shutil.copytree(folder, tmp_path / f"copy-{len(list(tmp_path.iterdir()))}")
        (copy / file).write_bytes(content)
        return copy

    header = json.loads((folder / "adapter.json").read_text())
    whole = (folder / "adapter.safetensors").read_bytes()
    with pytest.raises(ValueError, match="damaged"):
        load_adapter(damaged("adapter.safetensors", whole[:-9]))
    with pytest.raises(ValueError, match="damaged"):
        load_adapter(damaged("adapter.json", b"{"))
    with pytest.raises(ValueError, match=r"damaged .*lacks or adds seed"):
        load_adapter(damaged("adapter.json", json.dumps({k: v for k, v in header.items() if k != "seed"}).encode()))
    with pytest.raises(ValueError, match="adapter format 99; this version reads 2"):
        load_adapter(damaged("adapter.json", json.dumps({**header, "format": 99}).encode()))
    with pytest.raises(FileNotFoundError, match=r"no adapter.json"):
        load_adapter(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("field", "value"),
    [("steps", "x"), ("steps", -3), ("seed", -1), ("seed", True), ("class_noun", " "), ("words", ""), ("history", {})],
)
def test_a_header_with_a_value_that_cannot_be_is_refused(adapters, tmp_path, field, value):
    folder = adapters["TI-BL"].save(tmp_path / "adapter")
    header = json.loads((folder / "adapter.json").read_text())
    (folder / "adapter.json").write_text(json.dumps({**header, field: value}))
    with pytest.raises(ValueError, match=rf"damaged.*adapter.json: {field} = .*expected"):
        load_adapter(folder)


def test_tensors_that_cannot_be_are_refused(adapters, tmp_path):
    def changed(name, change):
        folder = adapters[name].save(tmp_path / f"adapter-{len(list(tmp_path.iterdir()))}")
        tensors = load_file(folder / "adapter.safetensors")
        change(tensors)
        save_file(tensors, folder / "adapter.safetensors")
        return folder

    lora = next(name for name in adapters["DB-LoRA-BL"].tensors if name.endswith("lora_A.weight"))
    with pytest.raises(ValueError, match=r"lora_B.weight without .*lora_A.weight"):
        load_adapter(changed("DB-LoRA-BL", lambda tensors: tensors.pop(lora)))
    with pytest.raises(ValueError, match="embedding holds values that are not finite"):
        load_adapter(changed("TI-BL", lambda tensors: tensors["embedding"].fill_(float("nan"))))


@pytest.mark.parametrize("name", ["TI-BL", "DB-BL", "DB-LoRA-BL", "DB-SV-BL"])
def test_a_tensor_of_a_wrong_shape_or_name_is_refused(adapters, backbone, name):
    whole = adapters[name].tensors
    key = next(iter(whole))
    wrong = replace(adapters[name], tensors={**whole, key: torch.zeros(3, 5, 7)})
    with pytest.raises(ValueError, match=r"has shape \(3, 5, 7\); this backbone expects \("), wrong.applied(backbone):
        pass
    stranger = replace(adapters[name], tensors={**whole, "unet.nothing.weight": torch.zeros(2)})
    message = r"unet\.nothing\.weight has shape \(2,\); this backbone expects None"
    with pytest.raises(ValueError, match=message), stranger.applied(backbone):
        pass
    assert backbone.adapter is None


@by_name
def test_a_halved_adapter_gives_the_same_clips_to_rounding(adapters, backbone, learned, tmp_path, setup):
    whole = adapters[setup.name]
    half = load_adapter(whole.halved(backbone).save(tmp_path / "half"))
    exact = setup.method in ("TI", "DB-LoRA", "DB-SV")
    assert half.stored == ("fp32" if exact else "fp16 differences")
    one, other = learned(setup.name), clip_of(backbone, half)
    assert np.array_equal(one, other) if exact else np.abs(one - other).max() < 0.01 * np.abs(one).max()
    sizes = [sum(t.nbytes for t in adapter.tensors.values()) for adapter in (whole, half)]
    assert exact or sizes[1] < 0.51 * sizes[0]


def test_saving_fails_whole(adapters, tmp_path, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match=r"no space left for .*running again continues"):
        adapters["TI-BL"].save(tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_the_phrase_is_that_of_the_concept_it_learned(adapters, concept):
    assert adapters["DB-BL"].phrase(concept) == "zyx guitar"
    with pytest.raises(ValueError, match='learned "tones", not "sitar"'):
        adapters["DB-BL"].phrase(replace(concept, name="sitar"))
