"""The training loop and losses of the pocket model, on small data."""

import numpy as np
import pandas as pd
import pytest
import torch

from tmp_utils.pocket import architecture, clap, training, vae


class Line:
    """A stage that fits y = 2 x, and can be stopped."""

    name, validate_every = "line", 5

    def __init__(self, stop_at: int | None = None):
        torch.manual_seed(0)
        self.model, self.stop_at, self.taken = torch.nn.Linear(1, 1), stop_at, 0
        self.modules = {"line": self.model}
        self.optimizers = {"line": (torch.optim.AdamW(self.model.parameters()), 0.3)}

    def step(self, generator):
        if self.taken == self.stop_at:
            raise KeyboardInterrupt
        self.taken += 1
        x = torch.randn(16, 1, generator=generator)
        loss = ((self.model(x) - 2 * x) ** 2).mean()
        self.optimizers["line"][0].zero_grad()
        loss.backward()
        self.optimizers["line"][0].step()
        return {"loss": loss.item()}

    def validate(self):
        return {"weight": self.model.weight.item()}


def quiet(*_):
    """Nothing on the terminal."""


def test_an_interrupted_stage_resumes_and_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_S", 0.0)
    uninterrupted, interrupted = Line(), Line(stop_at=7)
    training.run_stage(uninterrupted, tmp_path / "uninterrupted", 20, log=quiet)
    with pytest.raises(KeyboardInterrupt):
        training.run_stage(interrupted, tmp_path / "interrupted", 20, log=quiet)
    resumed = Line()
    training.run_stage(resumed, tmp_path / "interrupted", 20, log=quiet)
    assert resumed.taken == 13
    assert torch.equal(resumed.model.weight, uninterrupted.model.weight)
    curves = [pd.read_csv(tmp_path / name / "curve.csv") for name in ("uninterrupted", "interrupted")]
    assert curves[0].loss.tolist() == curves[1].loss.tolist()


def test_a_finished_stage_is_not_trained_again_and_logs_it(tmp_path):
    training.run_stage(Line(), tmp_path, 10, log=quiet)
    lines, again = [], Line()
    training.run_stage(again, tmp_path, 10, log=lines.append)
    assert again.taken == 0 and "done already" in lines[0]
    assert again.model.weight.item() != pytest.approx(2.0, abs=1e-6)


def test_a_checkpoint_of_another_number_of_steps_is_an_error(tmp_path):
    training.run_stage(Line(), tmp_path, 10, log=quiet)
    with pytest.raises(ValueError, match="10 steps, but the budget says 20"):
        training.run_stage(Line(), tmp_path, 20, log=quiet)


def test_the_learning_rate_rises_and_falls_to_zero():
    factors = [training.one_cycle(progress) for progress in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-12)


def test_a_moving_average_converges_geometrically_to_constant_weights():
    average, model = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    start = average.weight.item() - model.weight.item()
    for _ in range(10):
        training.ema_update(average, model, 0.9)
    assert average.weight.item() - model.weight.item() == pytest.approx(start * 0.9**10, rel=1e-4)


def test_the_contrastive_loss_is_that_of_clip_for_distinct_captions_and_counts_equal_ones_as_positives():
    torch.manual_seed(0)
    audio, text = (torch.nn.functional.normalize(torch.randn(4, 8), dim=1) for _ in range(2))
    logits, target = 10 * audio @ text.T, torch.arange(4)
    usual = 0.5 * sum(torch.nn.functional.cross_entropy(x, target) for x in (logits, logits.T))
    assert clap.contrastive_loss(audio, text, torch.tensor(10.0), torch.eye(4).bool()) == pytest.approx(usual.item())
    same = torch.ones(4, 4).bool()
    level = clap.contrastive_loss(audio[:1].expand(4, -1), text[:1].expand(4, -1), torch.tensor(10.0), same)
    assert level.item() == pytest.approx(np.log(4), abs=1e-5)


def test_a_caption_is_retrieved_by_any_clip_with_the_same_caption():
    rows = np.eye(4)
    assert clap.retrieved(rows, rows, ["a", "b", "c", "d"], 1).all()
    swapped = rows[[1, 0, 2, 3]]
    assert clap.retrieved(rows, swapped, ["a", "b", "c", "d"], 1).tolist() == [False, False, True, True]
    assert clap.retrieved(rows, swapped, ["a", "a", "c", "d"], 1).all()


def test_an_untrained_vae_decodes_to_the_mean_of_its_data():
    mels = np.random.default_rng(0).normal(-6, 2, size=(64, 256, 64)).astype(np.float16)
    stage = vae.VaeStage(mels, mels, seed=0)
    with torch.no_grad():
        made = stage.vae(torch.from_numpy(mels[:2].astype(np.float32))[:, None]).sample
    assert made.mean().item() == pytest.approx(-6, abs=1.5)


def test_the_parts_fit_together_and_into_the_size_limit():
    tokenizer = architecture.train_tokenizer(["a recording of a flute", "a rock song with a flute"] * 3)
    assert tokenizer.decode(tokenizer("A Flute").input_ids, skip_special_tokens=True) == "a flute"
    parts = [architecture.build_clap(tokenizer), architecture.build_vae(), architecture.build_unet()]
    shipped = [parts[0], parts[0].text_model, *parts[1:], architecture.build_vocoder()]  # the judge, and the pipeline
    assert 2 * sum(p.numel() for part in shipped for p in part.parameters()) < 25_000_000  # two bytes a number
    latents = parts[1].encode(torch.zeros(1, 1, 64, 64)).latent_dist.mean
    assert latents.shape == (1, architecture.LATENT_CHANNELS, 8, 8)
    noise = parts[2](latents, torch.tensor([5]), None, class_labels=torch.zeros(1, architecture.EMBEDDING_DIM)).sample
    assert noise.shape == latents.shape
