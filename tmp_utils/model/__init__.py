"""The text-to-audio model, and what can be done with it.

published  : sizes and licences of published models.
hub        : where a pipeline is: a folder, or a model to be downloaded.
pipelines  : how it is opened.
backbone   : clips <-> latents, prompts -> conditions, the denoiser.
family     : what a family of pipelines says of itself.
families   : AudioLDM, AudioLDM 2, Stable Audio and ACE-Step, one module each.
waveform   : what families share whose VAE encodes waveforms.
process    : the steps from noise to latents.
adapter    : what personalisation changed; put on a backbone and taken off again.
tensors    : what its tensors do to the weights, at a strength.
card       : the README.md beside an adapter.
combination : two adapters in one prompt.
generate   : adapter + prompts + seeds -> clips.
transfer   : style transfer: clip + adapter + strength -> clip.
inversion  : how the source of a style transfer becomes noise.
export     : adapters for other programs.
griffin_lim : clips from log-mel spectrograms, without trained weights.
spectrum   : clips from latents: a small network estimates magnitudes, Griffin-Lim finds their phases.
device     : number formats, and out-of-memory errors.
architectures : the sizes of published pipelines' parts.
blank      : pipelines with random weights, for tests and timing.
"""
