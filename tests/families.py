"""What the tests of the families share: tiny backbones, and each pipeline's own way from a prompt to an output."""

import copy
import math

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from tiny_pipelines import TINY, tiny_pipeline

from tmp_utils.model.backbone import load_backbone, placeholder_tokens
from tmp_utils.model.pipelines import quiet

FAMILIES = tuple(TINY)
ON_MELS = ("musicldm", "audioldm2")  # their denoisers count whole timesteps
DURATION_S = 0.64


def load_tiny(name, folder, **options):
    """A tiny backbone, through the disk."""
    with quiet():
        tiny_pipeline(name, **options).save_pretrained(folder)
    backbone = load_backbone(folder, "cpu")
    backbone.duration_s = DURATION_S
    return backbone


def with_word(pipe, placeholder, rows):
    """A copy of a pipeline whose tokenizers and text encoders know a placeholder; `rows` are split among them."""
    other, leaves = copy.copy(pipe), []
    for suffix in ("", "_2"):
        if tokenizer := copy.deepcopy(getattr(pipe, f"tokenizer{suffix}", None)):
            encoder = copy.deepcopy(getattr(pipe, f"text_encoder{suffix}"))
            tokenizer.add_tokens(placeholder_tokens(placeholder, len(rows)))
            inner = encoder.text_model if hasattr(encoder, "text_model") else encoder
            inner.resize_token_embeddings(max(len(tokenizer), 400), mean_resizing=False)
            table = inner.get_input_embeddings().weight
            part, rows = rows[:, : table.shape[1]], rows[:, table.shape[1] :]
            with torch.no_grad():
                table[len(tokenizer) - len(part) : len(tokenizer)] = part
            leaves.append((table.requires_grad_(), slice(len(tokenizer) - len(part), len(tokenizer))))
            other.__dict__[f"tokenizer{suffix}"], other.__dict__[f"text_encoder{suffix}"] = tokenizer, encoder
    return other, leaves


def spelt(name, pipe, prompt, placeholder="<x>", n_vectors=1):
    return prompt.replace(placeholder, " ".join(placeholder_tokens(placeholder, n_vectors)))


def predicted(name, pipe, prompt, noised, times):
    """The output of a pipeline's denoiser for one prompt, with the pipeline's own encoding: its `__call__` in parts."""
    n, cpu = len(noised), torch.device("cpu")
    if name == "musicldm":
        return pipe.unet(noised, times, None, class_labels=musicldm_embedding(pipe, prompt).expand(n, -1)).sample
    if name == "audioldm2":
        tokens, mask, generated = pipe.encode_prompt([prompt] * n, cpu, 1, False)
        return pipe.unet(
            noised,
            times,
            encoder_hidden_states=generated,
            encoder_hidden_states_1=tokens,
            encoder_attention_mask_1=mask,
        ).sample
    if name == "stable_audio_open":
        tokens = pipe.encode_prompt([prompt] * n, cpu, False)
        start, end = pipe.encode_duration(0.0, DURATION_S, cpu, False, n)
        rotary = get_1d_rotary_pos_embed(
            pipe.rotary_embed_dim, noised.shape[2] + 1, use_real=True, repeat_interleave_real=False
        )
        return pipe.transformer(
            noised,
            times,
            encoder_hidden_states=torch.cat([tokens, start, end], 1),
            global_hidden_states=torch.cat([start, end], 2),
            rotary_embedding=rotary,
        ).sample
    if name == "stable_audio_3":
        tokens, mask = pipe.encode_prompt([prompt] * n, cpu, 1)
        duration = pipe.encode_duration(DURATION_S, cpu, 1, n)
        context, mask = pipe.prepare_cross_attention(tokens, mask, duration)
        return pipe.transformer(
            noised,
            times,
            encoder_hidden_states=context,
            global_hidden_states=duration,
            encoder_attention_mask=mask,
            local_add_cond=torch.zeros(n, noised.shape[1] + 1, noised.shape[2]),
        ).sample
    text, text_mask, lyrics, lyrics_mask = pipe.encode_prompt(
        [prompt] * n, ["[Instrumental]"] * n, cpu, audio_duration=DURATION_S
    )
    frames = math.ceil(30 * pipe.latents_per_second)
    sequence, _ = pipe.condition_encoder(
        text_hidden_states=text,
        text_attention_mask=text_mask,
        lyric_hidden_states=lyrics,
        lyric_attention_mask=lyrics_mask,
        refer_audio_acoustic_hidden_states_packed=pipe.condition_encoder.silence_latent[:, :frames].expand(n, -1, -1),
        refer_audio_order_mask=torch.arange(n),
    )
    silence, _ = pipe.prepare_src_latents(cpu, torch.float32, n, latent_length=noised.shape[2])
    return pipe.transformer(
        hidden_states=noised.transpose(1, 2),
        timestep=times,
        timestep_r=times,
        encoder_hidden_states=sequence,
        context_latents=torch.cat([silence, torch.ones_like(silence)], -1),
    ).sample.transpose(1, 2)


def musicldm_embedding(pipe, prompt):
    """(1, d) by CLAP's own function, padded as in the pipeline, which with transformers 5 stops at what it returns."""
    tokens = pipe.tokenizer(prompt, padding="max_length", max_length=64, return_tensors="pt")
    return pipe.text_encoder.get_text_features(**tokens).pooler_output


def noised_and_target(name, pipe, latents, noise, times):
    """The objective of each family, written out."""
    t = times.view(-1, *[1] * (latents.ndim - 1))
    if name in ON_MELS:
        power = pipe.scheduler.alphas_cumprod[t]
        return power.sqrt() * latents + (1 - power).sqrt() * noise, noise
    if name == "stable_audio_open":
        cosine, sine = torch.cos(t * math.pi / 2), torch.sin(t * math.pi / 2)
        return cosine * latents + sine * noise, cosine * noise - sine * latents
    return (1 - t) * latents + t * noise, noise - latents
