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
from tmp_utils.model.waveform import by_length, faded

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
        n_clap = self.words.shape[1]
        of_clap, of_t5 = (None, None) if vectors is None else (vectors[:, :n_clap], vectors[:, n_clap:])
        clap = self._clap(ids, mask, of_clap)
        ids, mask = ids[:, TEXT_LIMIT:], mask[:, TEXT_LIMIT:]

        def conditions(same: torch.Tensor, n: int) -> torch.Tensor:
            tokens = ids[same][mask[same].bool()].view(-1, n)
            return self._condition(clap[same], tokens, torch.ones_like(tokens), of_t5)

        return by_length(mask, conditions)  # GPT-2 would count padding in the middle of its sequence

    @torch.no_grad()
    def null_of(self, condition: torch.Tensor) -> torch.Tensor:
        """The empty prompt's, padded to as many of T5's tokens as the condition has, as in the pipeline.

        The padding is masked, but GPT-2 counts it, so each length has its own null.
        """
        ids, mask = self.tokenise([""])
        clap, ids, mask = self._clap(ids, mask), ids[:, TEXT_LIMIT:], mask[:, TEXT_LIMIT:]

        def nulls(same: torch.Tensor, n: int) -> torch.Tensor:
            return self._condition(clap, ids[:, :n], mask[:, :n]).expand(len(same), -1, -1)

        t5 = condition[:, self.pipe.language_model.config.max_new_tokens :]
        return faded(t5, lambda tokens: by_length(tokens[..., -1] > 0, nulls))

    def _clap(self, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None) -> torch.Tensor:
        """(b, d), CLAP's L2-normalised embeddings."""
        ids, mask = ids[:, :TEXT_LIMIT], mask[:, :TEXT_LIMIT]
        used = mask.any(0)
        return F.normalize(clap_text_embedding(self.text_encoder, ids[:, used], mask[:, used], vectors), dim=-1)

    def _condition(
        self, clap: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, vectors: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Conditions of CLAP's embeddings (b, d) and T5's token ids and mask, both (b, n)."""
        inputs = spliced(self.t5.get_input_embeddings(), ids, vectors)
        t5 = self.t5(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        generated = self._continued(clap[:, None], t5, mask)
        width, n_generated = max(generated.shape[2], t5.shape[2]), generated.shape[1]
        both = torch.cat([F.pad(part, (0, width - part.shape[2])) for part in (generated, t5)], 1)
        both = torch.cat([both, F.pad(mask, (n_generated, 0), value=1).to(both)[..., None]], 2)
        return F.pad(both, (0, 0, 0, TEXT_LIMIT - ids.shape[1]))

    def _continued(self, clap: torch.Tensor, t5: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """GPT-2's continuation (b, 8, d) of CLAP's embedding (b, 1, d) and T5's tokens (b, n, d) with a mask (b, n)."""
        gpt2 = self.pipe.language_model
        projected = self.pipe.projection_model(
            hidden_states=clap,
            hidden_states_1=t5,
            attention_mask=torch.ones_like(clap[..., 0], dtype=torch.long),
            attention_mask_1=mask,
        )
        sequence, mask = projected.hidden_states, projected.attention_mask
        for _ in range(gpt2.config.max_new_tokens):
            output = gpt2(inputs_embeds=sequence, attention_mask=mask, output_hidden_states=True).hidden_states[-1]
            sequence, mask = torch.cat([sequence, output[:, -1:]], 1), F.pad(mask, (0, 1), value=1)
        return sequence[:, -gpt2.config.max_new_tokens :]

    def predict(self, latents: torch.Tensor, times: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        gpt2, t5 = self.pipe.language_model.config, self.t5.config
        n = gpt2.max_new_tokens

        def noise(tokens: torch.Tensor) -> torch.Tensor:
            return self.unet(
                latents,
                times,
                encoder_hidden_states=condition[:, :n, : gpt2.n_embd],
                encoder_hidden_states_1=tokens[..., : t5.d_model],
                encoder_attention_mask_1=(tokens[..., -1] > 0).long(),
            ).sample

        return faded(condition[:, n:], noise)

    def conditioned_parameters(self) -> list[str]:
        layers = {name for name, module in self.unet.named_modules() if getattr(module, "is_cross_attention", False)}
        names = {name: name.removeprefix("unet.").rpartition(".to_")[0] for name in super().conditioned_parameters()}
        return [name for name, layer in names.items() if layer in layers]

    def text_parameters(self) -> list[str]:
        clap = [name for name in super().text_parameters() if name.startswith(CLAP_PARTS)]
        return clap + [f"text_encoder_2.{name}" for name, _ in self.t5.named_parameters()]
