"""Runs: where they are, how they are made and scored.

A run is one concept learned in one setup with one seed.

place       : where the runs of a profile are.
identity    : all that decides a run's result.
folder      : a run's folder: opening, locking, resuming and finishing it.
mirror      : copies of the runs on another disk.
integrity   : whether a run's files are still as they were written.
disk        : how much runs write.
provenance  : the code, the packages and the machine that made it.
lab         : what the runs of a profile share, and where they are.
session     : what there is and what a notebook needs, in one line.
protocol    : one run: learn, generate, score.
adapters    : the adapter of a run, learned if there is none.
clips       : the clips of a run, and which of them can be used.
score       : a run's clips -> its rows of the results table.
sweep       : style transfers over strengths, as runs.
overfitting : scores along a training, and language drift.
how_many    : trainings on several numbers of clips, measured along the way.
strengths   : scores of an adapter at several strengths, and of two adapters in one prompt.
mixtures    : words of mixtures, learned and judged.
mixture_scores : their clips and masks -> rows.
collection  : all finished runs of a profile, with their concepts and embedder.
"""
