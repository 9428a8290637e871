"""Published models, by their ids on the Hugging Face hub: how large they are, and on what terms they may be used.

Conventions: sizes are parameters in millions, as published or counted from the configurations that diffusers has as its
defaults; a profile's memory and downloads are estimated from them before anything is fetched. None of these
weights has been run here; AudioLDM-M has, at its size with random values.
"""

from dataclasses import dataclass

NON_COMMERCIAL = ("cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0", "not for commercial use, share alike")
STABILITY = ("other", "Stability AI Community License", "commercial use below a yearly revenue of $1 million")


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
    """

    ids: str
    pipeline: str
    rate_hz: int
    denoiser: int
    others: int
    licence: tuple[str, str, str] = NON_COMMERCIAL
    needs_consent: bool = False


PUBLISHED = (
    Published("cvssp/audioldm-s", "AudioLDMPipeline", 16_000, 185, 250),
    Published("cvssp/audioldm-l", "AudioLDMPipeline", 16_000, 739, 250),
    Published("cvssp/audioldm2-large", "AudioLDM2Pipeline", 16_000, 750, 750),
    Published("cvssp/audioldm2", "AudioLDM2Pipeline", 16_000, 347, 731),
    Published("cvssp/audioldm", "AudioLDMPipeline", 16_000, 416, 236),
    Published("ucsd-reach/musicldm", "MusicLDMPipeline", 16_000, 416, 250),
    Published("stabilityai/stable-audio-open-1.0", "StableAudioPipeline", 44_100, 1057, 266, STABILITY, True),
    Published("stabilityai/stable-audio-3-medium", "StableAudio3Pipeline", 44_100, 1453, 2000, STABILITY, True),
    Published("stabilityai/stable-audio-3-small", "StableAudio3Pipeline", 44_100, 459, 389, STABILITY, True),
    Published("ACE-Step/acestep-v15-xl", "AceStepPipeline", 48_000, 4169, 1373, ("mit", "MIT", "")),
    Published("ACE-Step/", "AceStepPipeline", 48_000, 1575, 1373, ("mit", "MIT", "")),
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
