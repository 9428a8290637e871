"""Operations are those of the mathematics, and the speed is theirs by the time."""

import pytest
import torch

from tmp_utils.commands.bench import flops
from tmp_utils.commands.bench.flops import count_flops, matmul_peak, training_flops, unet_rate
from tmp_utils.commands.bench.full_size import blank_run
from tmp_utils.inputs.profiles import Hyperparameters


def test_operations_of_a_product_are_counted():
    one, other = torch.randn(3, 5), torch.randn(5, 7)
    assert count_flops(lambda: one @ other) == 2 * 3 * 5 * 7


def test_training_the_weights_takes_half_as_much_again(backbone):
    shape = (2, *backbone.latent_shape(0.64))
    word, weights = (training_flops(backbone.unet, shape, trained) for trained in (False, True))
    assert 1.3 < weights / word < 1.6


def test_speeds_are_operations_by_seconds(backbone, monkeypatch):
    monkeypatch.setattr(flops, "seconds_of", lambda action: 0.5)
    assert matmul_peak("cpu", torch.float32, repeats=1) == 2 * 2048**3 / 0.5, "of the largest of the three products"
    run = blank_run(backbone, "TI", Hyperparameters(lr=1e-3, steps=10, batch_size=2), clip_s=0.64)
    rate = unet_rate(run, {"UNet forward": 1.0, "backward": 3.0})
    assert rate["gflop_per_s"] == pytest.approx(rate["gflop"] / 4)
    assert rate["share"] == pytest.approx(rate["gflop_per_s"] / rate["peak_gflop_per_s"])
