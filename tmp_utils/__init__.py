"""Personalisation of text-to-music models: the repeated parts of the notebooks, in rooms.

Each room imports only from the rooms before it, and importing `tmp_utils` imports none of them:

    files -> inputs -> metrics | model -> personalize -> runs -> findings | survey -> commands
    figures sees inputs and metrics; pocket sees inputs, metrics and model, and nothing sees it.

A student reads these:
    inputs      : what goes in: audio, concepts, prompts, profiles.
    model       : the backbone, its adapters, generation and style transfer.
    personalize : how a concept is learned: one training loop, several methods.
    metrics     : CLAP-A, CLAP-T, FAD, KAD, tempo, loudness, key, and their intervals.
    figures     : tables and arrays -> plotly figures.

The rest is machinery:
    files       : files are written whole or not at all.
    runs        : where runs are; making, scoring and collecting them.
    findings    : all runs together: results table, verdicts, report, players.
    survey      : the listening study.
    pocket      : how the pocket model and the rendered clips are made.
    commands    : `python -m tmp_utils <command>`.

To add
    a setup     : a row of `data/setups.csv`.
    a method    : a function that returns a `Recipe`, in `personalize.METHODS`; hyperparameters in `data/profiles.toml`.
    a concept   : a row of `data/concepts.csv` and a folder in `data/clips`; a folder of your own needs neither.
    a claim     : a row of `data/paper/findings.csv`.
    a metric    : its rows in `metrics.scores` (of prompts, in `runs.score`), its name in `metrics.names`. Finished
        runs are scored again where their `metrics.csv` is deleted.
    a family    : a module in `model.families`, where it is found, and a profile in `data/profiles.toml`.
    a figure    : a function in `figures`; a caption in `findings.charts`, by the name that it is saved under.
    a command   : an entry of `commands.COMMANDS`, and a module with `add_options` and `main`.
"""

__version__ = "0.1.0"
