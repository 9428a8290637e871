"""How the pocket model and the rendered clips are made. Nothing imports this room.

stages       : the making of the model, stage by stage (`python -m tmp_utils pocket`).
corpus, captions, scores, grooves, instruments, render, acoustics : the rendered music it is trained on.
architecture : the shapes of its parts.
clap, vae, vocoder, spectrum, unet, training : the training of each part.
assemble     : the parts -> one pipeline folder.
arrays       : rows computed once for a corpus.
proof        : what the finished model can do, measured.
codec        : what VAE and vocoder keep of the music, each half measured.
stand_ins, stand_in_beats, stand_in_solos, stand_in_tunes : the rendered concept clips.
"""
