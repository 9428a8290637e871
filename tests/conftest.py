"""A backbone with random weights, a concept of rendered tones, and profiles small enough for a test."""

import gc
import os
import shutil
import sys
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

sys.modules["rfc3987_syntax"] = None  # jsonschema's optional check of IRIs takes more than a second to import


def pytest_collection_modifyitems(items):
    """Begin with the page in a browser: what another worker computes fills the time in which sounds are played."""
    items.sort(key=lambda item: item.path.name != "test_page.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One worker more than there are cores: the one with the page in a browser mostly waits."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish():
    """Keep what was imported out of later searches for garbage."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """Tests do not outlive a power cut, so nothing waits until the disk has what was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def blank_folder(tmp_path_factory):
    from tmp_utils.model.blank import blank_pipeline
    from tmp_utils.model.pipelines import quiet

    folder = tmp_path_factory.mktemp("blank") / "audioldm"
    with quiet():
        blank_pipeline(prediction_type="v_prediction").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def without_offloading():
    """Ask the first parameter where a model lies: diffusers looks for offloaded parts, a third of a tiny step."""
    from diffusers.models import modeling_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_utils, "get_parameter_device", lambda module: next(module.parameters()).device)
        yield


@pytest.fixture(scope="session")
def backbone(blank_folder, without_offloading):
    from tmp_utils.model.backbone import load_backbone

    return load_backbone(blank_folder, "cpu")


@pytest.fixture(scope="session")
def tiny_backbones(tmp_path_factory, without_offloading):
    """A tiny backbone of a family by its name, loaded once."""
    from functools import cache

    from families import load_tiny

    return cache(lambda name: load_tiny(name, tmp_path_factory.mktemp("tiny") / name))


@pytest.fixture(scope="session")
def concept(tmp_path_factory):
    """Five clips of tones, on disk."""
    from tmp_utils.inputs.audio import RATE_HZ, save_clip
    from tmp_utils.inputs.concepts import Concept

    folder, t = tmp_path_factory.mktemp("tones"), np.arange(2 * RATE_HZ) / RATE_HZ
    paths = tuple(save_clip(folder / f"{k}.wav", 0.3 * np.sin(2 * np.pi * 220 * (k + 2) * t)) for k in range(5))
    return Concept("tones", "guitar", "zyx", "own recordings", paths, False, True, True)


@pytest.fixture
def profile(blank_folder):
    """Three steps of training, two of generation, 1.28 s."""
    from tmp_utils.inputs.profiles import load_profile

    paper = load_profile("smoke")
    methods = {name: {**values, "steps": 3, "batch_size": 2} for name, values in paper.methods.items()}
    methods["TI-DB"] |= {"ti_steps": 2}
    return replace(paper, backbone=str(blank_folder), inference_steps=2, clip_s=1.28, methods=methods)


@pytest.fixture(scope="module")
def short_clips():
    """Train on 1.28 s: the same code, an eighth of the time."""
    from training_runs import clips_of

    with clips_of(1.28):
        yield


@pytest.fixture
def loaded(monkeypatch):
    """Let an embedder of tones and ears for level alone score; the specs of embedders that were loaded."""
    from results_runs import use_quick_ears, use_tone_embedder

    use_quick_ears(monkeypatch)
    return use_tone_embedder(monkeypatch)


@pytest.fixture
def study(tmp_path, loaded):
    """Runs of two concepts in three setups, without scores: their folder, and the concepts' folders."""
    from results_runs import make_study

    return make_study(tmp_path)


@pytest.fixture(scope="session")
def scored_once(tmp_path_factory):
    """A study as `study` makes it, with its scores, and a copy of its folder."""
    from results_runs import collect, make_study, use_quick_ears, use_tone_embedder

    folder = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as patch:
        use_quick_ears(patch)
        use_tone_embedder(patch)
        made = make_study(folder / "study")
        collect(made)
    shutil.copytree(folder / "study", folder / "copy")
    return made


@pytest.fixture
def scored(scored_once, loaded):
    """The study with its scores as it was made, whatever an earlier test did to it."""
    folder = scored_once[0].parent
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("copy"), folder)
    return scored_once
