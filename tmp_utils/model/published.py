"""Published models, by their ids on the Hugging Face hub: how large they are, and on what terms they may be used.

Conventions: sizes are parameters in millions, as published or counted from the configurations that diffusers has as its
defaults; a profile's memory and downloads are estimated from them before anything is fetched. None of these
weights has been run here; AudioLDM-M has, at its size with random values.
"""

from dataclasses import dataclass

# Scripts of github.com/huggingface/diffusers.
CONVERT_STABLE_AUDIO_3 = (
    "`python scripts/convert_stable_audio_3_to_diffusers.py --checkpoint_path {id} --output_dir NEW_FOLDER "
    "--dtype float32`"
)
CONVERT_ACE_STEP = (
    "`python scripts/convert_ace_step_to_diffusers.py --checkpoint_dir FOLDER --dit_config {model} "
    "--output_dir NEW_FOLDER`, where FOLDER has vae/ and Qwen3-Embedding-0.6B/ of ACE-Step/Ace-Step1.5, and {id} as "
    "{model}/"
)
NON_COMMERCIAL = ("cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0", "not for commercial use, share alike")
STABILITY = ("other", "Stability AI Community License", "commercial use below a yearly revenue of $1 million")

MIT = ("mit", "MIT", "")
STABLE_AUDIO_3, ACE_STEP = ("StableAudio3Pipeline", 44_100), ("AceStepPipeline", 48_000)


@dataclass(frozen=True)
class Published:
    """One model.

    Attributes
    ----------
    ids : how its ids begin.
    pipeline : its diffusers class.
    rate_hz : of its clips.
    denoiser, others : parameters in millions: of what predicts, and of text encoders, VAE and vocoder.
    licence : its name on the hub, in words, and what it asks.
    needs_consent : whether the hub asks for an account and for consent to the licence first.
    conversion : the command that converts it to diffusers' format, where the hub does not have it; "{id}" is its id,
        and "{model}" the last part of it.
    """

    ids: str
    pipeline: str
    rate_hz: int
    denoiser: int
    others: int
    licence: tuple[str, str, str] = NON_COMMERCIAL
    needs_consent: bool = False
    conversion: str = ""


PUBLISHED = (
    Published("cvssp/audioldm-s", "AudioLDMPipeline", 16_000, 185, 250),
    Published("cvssp/audioldm-l", "AudioLDMPipeline", 16_000, 739, 250),
    Published("cvssp/audioldm2-large", "AudioLDM2Pipeline", 16_000, 750, 750),
    Published("cvssp/audioldm2", "AudioLDM2Pipeline", 16_000, 347, 731),
    Published("cvssp/audioldm", "AudioLDMPipeline", 16_000, 416, 236),
    Published("ucsd-reach/musicldm", "MusicLDMPipeline", 16_000, 185, 305),
    Published("stabilityai/stable-audio-open-1.0", "StableAudioPipeline", 44_100, 1057, 266, STABILITY, True),
    Published(
        "stabilityai/stable-audio-3-medium", *STABLE_AUDIO_3, 1453, 2000, STABILITY, True, CONVERT_STABLE_AUDIO_3
    ),
    Published("stabilityai/stable-audio-3-small", *STABLE_AUDIO_3, 459, 389, STABILITY, True, CONVERT_STABLE_AUDIO_3),
    Published("ACE-Step/acestep-v15-xl", *ACE_STEP, 4169, 1373, MIT, conversion=CONVERT_ACE_STEP),
    Published("ACE-Step/", *ACE_STEP, 1575, 1373, MIT, conversion=CONVERT_ACE_STEP),
    Published("Runware/acestep-v15-base", *ACE_STEP, 1575, 1373, MIT),
)
UNKNOWN = Published("", "", 16_000, 416, 250, ("other", "not known here", "look it up before you use it"))


def terms(name: str) -> str:
    """A model's licence in one phrase, for messages before a download."""
    _, licence, asks = published(name).licence
    consent = ", to be accepted on the hub first" if published(name).needs_consent else ""
    return f"licence {licence}{f' ({asks})' if asks else ''}{consent}"


def published(name: str) -> Published:
    """The row of an id; for one that is not listed, AudioLDM-M's size and rate, and no licence."""
    return next((row for row in PUBLISHED if name.startswith(row.ids)), UNKNOWN)
