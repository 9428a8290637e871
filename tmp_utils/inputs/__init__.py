"""What goes in: sound, concepts, prompts, and the size of the study.

audio      : sound files -> clips, log-mel spectrograms, mixing, loudness.
containers : what a sound file's header promises, compared with the file.
sounds     : sound files of every kind -> frames.
recordings : the part of a recording that is learned from.
sources    : who made the shipped recordings, and under which licence.
concepts   : the catalogue of concepts, and folders of your own recordings.
credits    : who has to be named where recordings are shared.
mixtures   : several sounds at once, and a class noun for each.
masks      : which part of a mel belongs to which sound.
prompts    : training, reconstruction and editability prompts.
profiles   : the sizes of the study (pocket, paper, smoke), and its setups.
tables     : CSV and TOML files, checked field by field.
weights    : model weights loaded whole, or refused with what is missing.
parameters : a notebook's parameters as a command line gives them.
"""
