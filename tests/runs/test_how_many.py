"""Trainings on several numbers of clips, with a tiny backbone: which clip is for what, and what is measured."""

from dataclasses import replace

import pytest
import torch
from results_runs import ToneEmbedder

from tmp_utils.files import file_sha256
from tmp_utils.inputs import concepts
from tmp_utils.inputs.audio import save_clip
from tmp_utils.inputs.profiles import load_profile, load_setup
from tmp_utils.metrics.copies import CopyTest
from tmp_utils.model.backbone import unit_noise
from tmp_utils.model.generate import clip_seed
from tmp_utils.model.transfer import round_trip
from tmp_utils.personalize.objective import Draw, squared_errors
from tmp_utils.runs import how_many
from tmp_utils.runs.how_many import HowMany, Parts, check_clips
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import Lab

pytestmark = pytest.mark.usefixtures("short_clips")


@pytest.fixture
def task(backbone, profile, concept, tmp_path, monkeypatch, loaded):
    """Two clips to learn from, one to validate, two to judge; looks at steps 0, 3 and 6."""
    sizes = {
        "N_HELD_OUT": 2,
        "LOOKS": (1, 2),
        "JUDGED_CLIPS": 2,
        "MORE_CLIPS": 3,
        "SEEN_CLIPS": 1,
        "JUDGED_PROMPTS": 1,
        "VALIDATION_DRAWS": 2,
    }
    for name, value in sizes.items():
        monkeypatch.setattr(how_many, name, value)
    short = lambda *args: [clip[:20480] for clip in concepts.load_clips(*args)]  # noqa: E731
    monkeypatch.setattr(how_many, "load_clips", short)
    lab = Lab(profile, backbone, ToneEmbedder("clap:tones"), Place(tmp_path / "runs", profile.name))
    return HowMany(lab, concept, seed=0, most=2)


def test_the_clips_that_judge_and_validate_are_none_that_is_learned_from(task, concept):
    assert task.parts.training.clips == concept.clips[:2]
    ends = [clip for clip in how_many.load_clips(concept)[2:]]
    for part, clip in zip([task.parts.validation, *task.parts.held_out], ends, strict=True):
        assert (part == clip).all()


def test_too_few_clips_are_refused_with_their_numbers(concept):
    with pytest.raises(
        ValueError, match=r"tones: 5 clips in .*, but 26 are needed: 20 to learn from, 1 to validate and 5"
    ):
        check_clips(concept, 20)
    with pytest.raises(ValueError, match="7 are needed"):
        Parts.of(concept, 1)


def test_a_curve_has_every_metric_at_every_look(task, tmp_path):
    table = task.curve(load_setup("DB", "BL"), 1, tmp_path / "work")
    metrics = {"clap_a", "clap_t", "musicnn_a", "copied", "validation_loss", "drift", "clap_a_training"}
    more = {"clap_a_more", "musicnn_a_more", "copied_more"}  # of three clips, at the profile's three steps
    assert table.groupby("step")["metric"].agg(set).to_dict() == {0: metrics, 3: metrics | more, 6: metrics}
    assert table["value"].notna().all() and set(table["n_clips"]) == {1} and table["identity"].nunique() == 1
    n = table.drop_duplicates("metric").set_index("metric")["n"]
    assert (n["clap_a"], n["clap_t"], n["clap_a_training"], n["validation_loss"]) == (2, 1, 1, 2)
    assert set(n[list(more)]) == {3}
    drift = table[table["metric"] == "drift"].set_index("step")["value"]
    assert drift[0] == 0 < drift[3] < drift[6]


def test_the_validation_loss_is_the_training_objective_at_fixed_noise_levels(task, backbone):
    latents, seeds = backbone.moments([task.parts.validation])[0], [clip_seed(0, "validation", k) for k in range(2)]
    latents, noise = latents * backbone.latent_scale, unit_noise(seeds, latents.shape[1:])
    times = backbone.draw_times(2, latents.shape[1:], torch.Generator().manual_seed(seeds[0]))
    draw = Draw(torch.zeros(2, dtype=int), latents.expand_as(noise), times, noise)
    with torch.no_grad():
        errors, _ = squared_errors(backbone, draw, backbone.embed_prompts(["a recording of a guitar"]).expand(2, -1))
    assert task._untrained.validation_loss == pytest.approx(float(errors.mean()), rel=1e-5)


def test_looks_are_at_a_quarter_half_once_and_twice_the_steps():
    assert how_many.look_steps(80) == [20, 40, 80, 160] and how_many.look_steps(3) == [1, 3, 6]
    pocket = load_profile("pocket")
    longer = how_many.longer_profile(pocket).methods
    for method, steps, every in (("TI", 200, 25), ("DB", 160, 20)):  # the published table's
        more = {"steps": steps, "checkpoint_every": every, "keep_checkpoints": True}
        assert longer[method] == pocket.methods[method] | more


def test_looks_count_the_steps_of_both_phases_and_few_checkpoints_are_kept(task, tmp_path, monkeypatch):
    monkeypatch.setattr(how_many, "LOOKS", (0.5, 1, 1.5))
    values = task.lab.profile.methods["TI-DB"] | {"ti_steps": 3, "steps": 2, "batch_size": 1}
    profile = replace(task.lab.profile, methods={"TI-DB": values})
    task = HowMany(replace(task.lab, profile=profile), task.concept, 0, 2)
    looks = []
    task._untrained = None
    monkeypatch.setattr(task, "_look", lambda adapter, n: looks.append((adapter.steps, n)))
    monkeypatch.setattr(task, "_rows", lambda look, n_clips: [dict.fromkeys(("metric", "value", "n", "embedder"))])
    setup = load_setup("TI-DB", "BL")
    assert list(task.curve(setup, 1, tmp_path)["step"]) == [0, 2, 5, 7]
    assert looks == [(2, 2), (5, 3), (7, 2)], "more clips at the profile's 5 steps"
    kept = [path.name for path in sorted((tmp_path / task.identity(setup, 1) / "checkpoints").iterdir())]
    assert kept == [f"step-{step:06d}" for step in (2, 4, 5, 6, 7)]


def test_the_threshold_of_a_copy_is_the_same_for_every_number_of_clips(task):
    one, two = task._copy_test(1), task._copy_test(2)
    assert one.threshold == two.threshold and (len(one.training), len(two.training)) == (1, 2)
    everything = [*task._training, *task.parts.held_out]
    assert (
        one.threshold
        == CopyTest.calibrated(everything, [round_trip(task.lab.backbone, c) for c in everything]).threshold
    )


def test_a_training_twice_as_long_has_the_same_beginning(task):
    longer = how_many.longer_profile(task.lab.profile)
    assert longer.methods["DB"]["steps"] == 2 * task.lab.profile.methods["DB"]["steps"]
    usual = {name: values for name, values in task.lab.profile.methods["DB"].items() if name != "steps"}
    assert usual.items() <= longer.methods["DB"].items()


def test_another_number_of_clips_or_another_recording_is_another_training(task, concept, tmp_path):
    row = load_setup("TI", "BL")
    assert task.identity(row, 1) != task.identity(row, 2)
    other = save_clip(tmp_path / "other.wav", how_many.load_clips(concept)[0] / 2)
    assert file_sha256(other) != file_sha256(concept.clips[0])
    changed = HowMany(task.lab, replace(concept, clips=(other, *concept.clips[1:])), 0, 2)
    assert changed.identity(row, 1) != task.identity(row, 1)
