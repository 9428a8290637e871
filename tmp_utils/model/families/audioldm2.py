"""AudioLDM 2: a UNet over the latents of mel spectrograms that attends to two sequences of text.

Conventions: mels, VAE, vocoder and timesteps are AudioLDM's. CLAP and T5 each read the prompt; a GPT-2 continues the
two for eight steps, and the UNet attends to those eight vectors and to T5's tokens (Liu et al. 2024,
https://arxiv.org/abs/2308.05734). A condition is (batch, 8 + 128, d + 1): both sequences, the narrower one padded with
zeros, and in the last column 1 for a token and 0 for padding. A new word's vector is CLAP's beside T5's. The variant
for speech, which reads phonemes, is refused.

AudioLDM2 : the family.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import Transformer2DModel
from torch.utils.checkpoint import checkpoint

from tmp_utils.model.backbone import spliced
from tmp_utils.model.families.audioldm import MelBackbone, clap_text_embedding
from tmp_utils.model.pipelines import pipeline_index
from tmp_utils.model.waveform import by_length

TEXT_LIMIT = 128  # tokens of a prompt
CLAP_PARTS = ("text_encoder.text_model.", "text_encoder.text_projection.")


class AudioLDM2(MelBackbone):
    """The family."""

    pipelines = ("AudioLDM2Pipeline",)
    vocabularies = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))
    clip_code = (
        'audio = pipe("{prompt}", audio_length_in_s=10.24, num_inference_steps=50, guidance_scale=3.5).audios[0]'
    )
    conditioned = ("attn2.to_k", "attn2.to_v")  # of three in a row, the first attends to the sound again

    t5 = property(lambda self: self.pipe.text_encoder_2)

    @staticmethod
    def checkpointed(module: torch.nn.Module, *arguments):
        """Gradient checkpointing of a module.

        This UNet passes an attention's arguments by position and leaves out the fourth, so that the text's mask would
        be taken for the sound's (diffusers 0.42.1).
        """
        if isinstance(module, Transformer2DModel) and len(arguments) == 7:
            arguments = (*arguments[:3], None, *arguments[3:])
        return checkpoint(module, *arguments, use_reentrant=False)

    @classmethod
    def check(cls, folder: Path, name: str) -> None:
        _, encoder = pipeline_index(folder)["text_encoder_2"]
        if encoder != "T5EncoderModel":
            raise ValueError(
                f"{name}: its second text encoder is a {encoder}; only AudioLDM 2 for sound and music, with a T5, is "
                "supported."
            )

    @property
    def words(self) -> torch.Tensor:
        """CLAP's word embeddings; a new word has T5's as well, see `mean_word`."""
        return self.text_encoder.text_model.embeddings.word_embeddings.weight[: len(self.tokenizer)]

    def mean_word(self, text: str | None = None) -> torch.Tensor:
        """(d of CLAP + d of T5,), the means of each, one behind the other."""
        ids = slice(None)
        if text is not None:
            ids = self.pipe.tokenizer_2(f" {text}", add_special_tokens=False).input_ids
        of_t5 = self.t5.get_input_embeddings().weight[: len(self.pipe.tokenizer_2)][ids]
        return torch.cat([super().mean_word(text), of_t5.detach().mean(0)])

    def tokenise(self, prompts: list[str], placeholders: dict[str, int] | None = None):
        """Ids and mask (b, 2 * 128): CLAP's, then T5's."""
        both = [self.limited_ids(each, prompts, placeholders, TEXT_LIMIT) for each in self.tokenizers]
        return tuple(torch.cat(parts, 1) for parts in zip(*both, strict=True))

    def encode(self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        n_clap, embed = self.words.shape[1], self.t5.get_input_embeddings()
        of_clap, of_t5 = (None, None) if vectors is None else (vectors[:, :n_clap], vectors[:, n_clap:])
        used = mask[:, :TEXT_LIMIT].any(0)
        clap = clap_text_embedding(
            self.text_encoder, ids[:, :TEXT_LIMIT][:, used], mask[:, :TEXT_LIMIT][:, used], of_clap
        )
        clap = F.normalize(clap, dim=-1)
        ids, mask = ids[:, TEXT_LIMIT:], mask[:, TEXT_LIMIT:]

        def conditions(same: torch.Tensor, n: int) -> torch.Tensor:
            tokens = ids[same][mask[same].bool()].view(-1, n)
            hidden = self.t5(inputs_embeds=spliced(embed, tokens, of_t5)).last_hidden_state
            return self._packed(self._continued(clap[same, None], hidden), hidden)

        return by_length(mask, conditions)  # GPT-2 would count padding in the middle of its sequence

    def _continued(self, clap: torch.Tensor, t5: torch.Tensor) -> torch.Tensor:
        """GPT-2's continuation (b, 8, d) of CLAP's embedding (b, 1, d) and T5's tokens (b, n, d)."""
        gpt2, ones = self.pipe.language_model, torch.ones_like
        sequence = self.pipe.projection_model(
            hidden_states=clap,
            hidden_states_1=t5,
            attention_mask=ones(clap[..., 0], dtype=torch.long),
            attention_mask_1=ones(t5[..., 0], dtype=torch.long),
        ).hidden_states
        for _ in range(gpt2.config.max_new_tokens):
            output = gpt2(inputs_embeds=sequence, output_hidden_states=True).hidden_states[-1]
            sequence = torch.cat([sequence, output[:, -1:]], 1)
        return sequence[:, -gpt2.config.max_new_tokens :]

    @staticmethod
    def _packed(generated: torch.Tensor, t5: torch.Tensor) -> torch.Tensor:
        width = max(generated.shape[2], t5.shape[2])
        t5 = F.pad(F.pad(t5, (0, width - t5.shape[2], 0, 0)), (0, 1), value=1.0)
        generated = F.pad(F.pad(generated, (0, width - generated.shape[2])), (0, 1), value=1.0)
        return torch.cat([generated, F.pad(t5, (0, 0, 0, TEXT_LIMIT - t5.shape[1]))], 1)

    def predict(self, latents: torch.Tensor, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        n, gpt2, t5 = self.pipe.language_model.config.max_new_tokens, self.pipe.language_model.config, self.t5.config
        return self.unet(
            latents,
            times,
            encoder_hidden_states=condition[:, :n, : gpt2.n_embd],
            encoder_hidden_states_1=condition[:, n:, : t5.d_model],
            encoder_attention_mask_1=(condition[:, n:, -1] > 0).long(),
        ).sample

    def conditioned_parameters(self) -> list[str]:
        layers = {name for name, module in self.unet.named_modules() if getattr(module, "is_cross_attention", False)}
        names = {name: name.removeprefix("unet.").rpartition(".to_")[0] for name in super().conditioned_parameters()}
        return [name for name, layer in names.items() if layer in layers]

    def text_parameters(self) -> list[str]:
        clap = [name for name in super().text_parameters() if name.startswith(CLAP_PARTS)]
        return clap + [f"text_encoder_2.{name}" for name, _ in self.t5.named_parameters()]
