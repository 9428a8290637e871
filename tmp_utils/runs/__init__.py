"""Runs: where they are kept, how they are made and scored.

A run is one concept learned in one setup with one seed.

folder      : a run's folder: opening, resuming and finishing it.
integrity   : whether a run's files are still as they were written.
identity    : what makes a run this run.
provenance  : the code, the packages and the machine that made it.
protocol    : one run: learn, generate, score, keep.
score       : a run's clips -> its rows of the results table.
sweep       : style transfers over strengths, kept as runs.
overfitting : scores along a training, and language drift.
collection  : all finished runs of a profile.
"""
