from dataclasses import replace

import numpy as np
import pytest
import torch

from tmp_utils.inputs.audio import save_clip
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.personalize import Diverged, load_adapter, loop, personalise
from tmp_utils.personalize.many import Job, personalise_many

pytestmark = pytest.mark.usefixtures("short_clips")

N_STEPS = 6


@pytest.fixture(scope="module")
def noise_concept(concept, tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("noises"), np.random.default_rng(0)
    paths = tuple(save_clip(folder / f"{k}.wav", 0.1 * rng.normal(size=32000)) for k in range(5))
    return replace(concept, name="a noise", class_noun="drums", clips=paths)


@pytest.fixture
def jobs(concept, noise_concept):
    """Two concepts, two setups, two seeds; two of them under the same placeholder."""
    return [
        Job(concept, load_setup("TI", "BL"), 0),
        Job(noise_concept, load_setup("TI", "MW"), 1),
        Job(concept, load_setup("TI", "1-AC"), 2),
    ]


@pytest.fixture
def ti_profile(profile):
    values = {"steps": N_STEPS, "n_vectors": 2, "checkpoint_every": 2}
    return replace(profile, methods={**profile.methods, "TI": {**profile.methods["TI"], **values}})


def alone(backbone, job, profile, **kwargs):
    return personalise(backbone, job.concept, job.setup, job.seed, profile=profile, progress=False, **kwargs)


def test_jobs_side_by_side_end_with_the_bits_of_separate_runs(backbone, jobs, ti_profile):
    many = personalise_many(backbone, jobs, profile=ti_profile, progress=False)
    for job, adapter in zip(jobs, many, strict=True):
        expected = alone(backbone, job, ti_profile)
        assert torch.equal(adapter.tensors["embedding"], expected.tensors["embedding"])
        assert adapter.header() == expected.header()


def test_jobs_in_one_batch_end_within_rounding_of_separate_runs(backbone, jobs, ti_profile):
    many = personalise_many(backbone, jobs, profile=ti_profile, together=3, progress=False)
    for job, adapter in zip(jobs, many, strict=True):
        expected = alone(backbone, job, ti_profile)
        one, other = adapter.tensors["embedding"], expected.tensors["embedding"]
        assert float((one - other).norm() / other.norm()) < 1e-3
        assert adapter.history[0]["loss"] == pytest.approx(expected.history[0]["loss"], rel=1e-5)
        assert adapter.history[0]["grad_norm"] == pytest.approx(expected.history[0]["grad_norm"], rel=1e-3)


def test_a_job_is_not_touched_by_its_neighbours(backbone, jobs, ti_profile):
    """A neighbour that learns something else entirely leaves the others' bits."""
    first = personalise_many(backbone, jobs[:2], profile=ti_profile, together=2, progress=False)[0]
    other = [jobs[0], replace(jobs[1], seed=9)]
    second = personalise_many(backbone, other, profile=ti_profile, together=2, progress=False)[0]
    assert torch.equal(first.tensors["embedding"], second.tensors["embedding"])


def test_jobs_resume_from_checkpoints_of_separate_runs(backbone, jobs, ti_profile, tmp_path):
    values = {**ti_profile.methods["TI"], "steps": 2}
    shorter = replace(ti_profile, methods={**ti_profile.methods, "TI": values})
    alone(backbone, jobs[1], shorter, checkpoint_dir=tmp_path / "1")
    resumed = [replace(job, checkpoint_dir=tmp_path / str(k)) for k, job in enumerate(jobs)]
    many = personalise_many(backbone, resumed, profile=ti_profile, progress=False)
    for k, (job, adapter) in enumerate(zip(jobs, many, strict=True)):
        expected = alone(backbone, job, ti_profile)
        assert torch.equal(adapter.tensors["embedding"], expected.tensors["embedding"])
        (left,) = (tmp_path / str(k)).iterdir()
        assert load_adapter(left).steps == len(adapter.history) == N_STEPS


def test_a_job_that_diverges_does_not_keep_the_others_from_their_end(backbone, jobs, ti_profile, monkeypatch, tmp_path):
    check = loop.Training.check

    def checked(run, loss, ignorant):
        bad = run.adapter.seed == 1 and run.adapter.steps == 3
        return check(run, float("nan") if bad else loss, ignorant)

    monkeypatch.setattr(loop.Training, "check", checked)
    kept = [replace(job, checkpoint_dir=tmp_path / str(k)) for k, job in enumerate(jobs)]
    with pytest.raises(Diverged, match="a noise TI-MW, seed 1: training diverged at step 4") as told:
        personalise_many(backbone, kept, profile=ti_profile, together=3, progress=False)
    first, none, last = told.value.finished
    assert none is None and load_adapter(tmp_path / "1" / "step-000002").steps == 2
    for job, adapter in ((jobs[0], first), (jobs[2], last)):
        expected = alone(backbone, job, ti_profile).tensors["embedding"]
        assert len(adapter.history) == N_STEPS
        assert float((adapter.tensors["embedding"] - expected).norm() / expected.norm()) < 1e-3


def test_what_cannot_share_a_backbone_is_refused(backbone, jobs, profile):
    with pytest.raises(ValueError, match="DB-BL: only Textual Inversion"):
        personalise_many(backbone, [replace(jobs[0], setup=load_setup("DB", "BL"))], profile=profile)
    with pytest.raises(ValueError, match="0 jobs"):
        personalise_many(backbone, [], profile=profile)
    with pytest.raises(ValueError, match="together=0"):
        personalise_many(backbone, jobs, profile=profile, together=0)


def test_a_full_gpu_is_told_which_parameters_help(backbone, jobs, ti_profile, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backbone.unet, "forward", full)
    with pytest.raises(RuntimeError, match=r"batch_size=2.*gradient_checkpointing = true.*together=3"):
        personalise_many(backbone, jobs, profile=ti_profile, together=3, progress=False)
    with pytest.raises(RuntimeError, match=r"batch_size=2.*gradient_checkpointing = true.*accumulation"):
        alone(backbone, jobs[0], ti_profile)
