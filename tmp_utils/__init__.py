"""Personalisation of text-to-music models: the repeated parts of the notebooks.

Nothing is imported here, so that `import tmp_utils` costs nothing: import the module that answers the question.

audio       : how sound becomes numbers (clips, log-mel, mixing, loudness).
concepts    : what can be learned (the catalogue, a folder of recordings).
prompts     : what is asked (training, reconstruction and editability prompts).
profiles    : at which size (pocket, paper, smoke), and the study's setups.
backbone    : which model (an AudioLDM pipeline from a folder or a hub id).
personalize : how a concept is learned (one loop, several methods) and kept (adapters).
generate    : what it sounds like (adapter + prompts + seeds -> clips).
transfer    : style transfer (clip + adapter + strength -> clip).
embed       : how clips and prompts are compared (CLAP, VGGish).
metrics     : CLAP-A, CLAP-T, FAD, KAD, their references and intervals.
music       : tempo, loudness, key and scale.
survey      : whether people agree (pairs, page, answers, analysis).
figures     : pictures of a tidy table.
runs        : where things are and what is done (folders, manifests, resume).
study       : the notebooks, headless and in order (`python -m tmp_utils.study`).
report      : one HTML page of what a study found.
pocket      : where the pocket model comes from.
"""

__version__ = "0.1.0"
