"""The objective is the scheduler's, and the published loop's."""

from types import SimpleNamespace

import pytest
import torch
from training_runs import with_hyperparameters

from tmp_utils.inputs.profiles import load_setup
from tmp_utils.model.families.audioldm import AudioLDM
from tmp_utils.personalize import prepare
from tmp_utils.personalize.loop import losses
from tmp_utils.personalize.objective import noised_and_target
from tmp_utils.personalize.training import step_generator

pytestmark = pytest.mark.usefixtures("short_clips")


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_targets_are_the_scheduler_s(kind):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_schedule="scaled_linear", prediction_type=kind)
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([0, 500, 999])
    backbone = AudioLDM("", "", None, SimpleNamespace(scheduler=scheduler))
    noised, target = noised_and_target(backbone, latents, noise, timesteps)
    expected = {"epsilon": noise, "sample": latents, "v_prediction": scheduler.get_velocity(latents, noise, timesteps)}
    torch.testing.assert_close(noised, scheduler.add_noise(latents, noise, timesteps))
    torch.testing.assert_close(target, expected[kind])


def test_the_loss_is_that_of_the_published_loop_for_the_same_noise(backbone, concept, profile):
    """Against the textbook loop: draw, add noise, predict, mean squared error."""
    profile = with_hyperparameters(profile, "DB", batch_size=4)
    training, draw = prepare(backbone, concept, load_setup("DB", "BL"), 0, profile), step_generator(0, 0)
    recipe, examples = training.recipe, training.examples
    torch.randint(1, (4,), generator=draw)
    latents = examples.sample(4, draw)
    timesteps = torch.randint(1000, (4,), generator=draw)
    noise = torch.randn(latents.shape, generator=draw)
    noisy = backbone.scheduler.add_noise(latents, noise, timesteps)
    embeds = backbone.pipe._encode_prompt(recipe.prompts * 4, "cpu", 1, False)
    output = backbone.unet(noisy, timesteps, encoder_hidden_states=None, class_labels=embeds).sample
    expected = torch.nn.functional.mse_loss(output, backbone.scheduler.get_velocity(latents, noise, timesteps))
    loss, _ = losses([training], [step_generator(0, 0)])
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
