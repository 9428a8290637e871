"""A CLAP of random weights under laion-clap's names, and what the package laion-clap makes of it.

`PYTHONPATH=tests python tests/clap_reference.py` writes `metrics/clap_reference.json` anew, given the extra "laion".
The file holds names and shapes of the checkpoint's tensors, and the embeddings of `random_windows` and `PROMPTS` that
laion-clap 1.1.7 gave with the values of `random_state`, rounded to 7 digits.
"""

import json
from pathlib import Path

import numpy as np
import torch

from tmp_utils.metrics.clap_checkpoint import FRONT_END, N_FFT, N_MELS, RATE_HZ
from tmp_utils.model.blank import blank_tokenizer

PATH = Path(__file__).parent / "metrics" / "clap_reference.json"
PROMPTS = ["a recording of a sitar", "a sitar and a drum, under water", " ".join(["a long prompt"] * 60)]
SIDE = 8  # of an attention window, in patches


def random_windows() -> list[np.ndarray]:
    """Ten seconds each: a chord, noise with a beat, near silence, and samples that clip."""
    rng, time_s = np.random.default_rng(0), np.arange(10 * RATE_HZ) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * f * time_s) / 4 for f in (220, 277.2, 329.6, 5000))
    beat = rng.normal(0, 0.2, time_s.size) * (time_s % 0.5 < 0.1)
    return [x.astype(np.float32) for x in (chord, beat, 1e-4 * beat, 3 * beat)]


def random_state(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Values of the tensors of these names: far enough from 0 and 1 that no swap of two would go unnoticed."""
    generator = torch.Generator().manual_seed(0)
    return front_end() | {
        name: _tensor(name, torch.randn(shape, generator=generator)) for name, shape in shapes.items()
    }


def _tensor(name: str, noise: torch.Tensor) -> torch.Tensor:
    if name.endswith("relative_position_index"):
        return _position_index()
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if name.endswith("token_type_embeddings.weight"):
        return torch.zeros_like(noise)  # as in roberta-base
    if name.endswith("running_mean"):
        return 5 * noise - 30
    if name.endswith("running_var"):
        return 50 + 100 * noise.abs()
    return 1 + 0.02 * noise if noise.ndim == 1 and name.endswith("weight") else 0.03 * noise


def _position_index() -> torch.Tensor:
    """Which entry of the table of biases holds for two patches of a window, (64, 64)."""
    row, column = np.divmod(np.arange(SIDE**2), SIDE)
    down, right = (x[:, None] - x[None] + SIDE - 1 for x in (row, column))
    return torch.from_numpy(down * (2 * SIDE - 1) + right)


def front_end() -> dict[str, torch.Tensor]:
    """torchlibrosa's windowed DFT and mel filters."""
    from transformers.audio_utils import mel_filter_bank

    time, frequency = np.arange(N_FFT), np.arange(N_FFT // 2 + 1)
    dft = np.exp(-2j * np.pi * np.outer(frequency, time) / N_FFT) * (0.5 - 0.5 * np.cos(2 * np.pi * time / N_FFT))
    mel = mel_filter_bank(N_FFT // 2 + 1, N_MELS, 50, 14000, RATE_HZ, norm="slaney", mel_scale="slaney")
    parts = (dft.real[:, None], dft.imag[:, None], mel)
    return {name: torch.from_numpy(part).float() for name, part in zip(FRONT_END, parts, strict=True)}


def laion_module():
    """laion-clap's module, without the downloads that it wants."""
    import transformers

    def random_roberta(*_args, **_kwargs):  # https://huggingface.co/FacebookAI/roberta-base/blob/main/config.json
        sizes = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
        return transformers.RobertaModel(transformers.RobertaConfig(**sizes))

    for name in ("RobertaTokenizer", "BertTokenizer", "BartTokenizer"):
        getattr(transformers, name).from_pretrained = lambda *_args, **_kwargs: blank_tokenizer()
    transformers.RobertaModel.from_pretrained = random_roberta
    from laion_clap import CLAP_Module

    return CLAP_Module(enable_fusion=False, device="cpu", amodel="HTSAT-base").eval()


def main() -> None:
    """Write the file."""
    module = laion_module()
    own = module.model.state_dict()
    state = random_state({name: list(tensor.shape) for name, tensor in own.items() if name not in FRONT_END})
    for name in (*FRONT_END, *(name for name in own if name.endswith("relative_position_index"))):
        torch.testing.assert_close(state[name], own[name], atol=1e-5, rtol=0)
    for name in own:
        if name.endswith(("attn_mask", "position_ids")):
            state[name] = own[name]
    module.model.load_state_dict(state)
    rows = {
        "sounds": module.get_audio_embedding_from_data(np.stack(random_windows())),
        "prompts": module.get_text_embedding(PROMPTS),
    }
    lines = [f'  "{name}": {list(tensor.shape)}' for name, tensor in own.items() if name not in FRONT_END]
    parts = ['"shapes": {\n' + ",\n".join(lines) + "\n }"]
    for name, embeddings in rows.items():
        parts.append(
            f'"{name}": [\n' + ",\n".join(f"  {np.round(row.astype(float), 7).tolist()}" for row in embeddings) + "\n ]"
        )
    PATH.write_text("{\n " + ",\n ".join(parts) + "\n}\n")
    json.loads(PATH.read_text())


if __name__ == "__main__":
    main()
