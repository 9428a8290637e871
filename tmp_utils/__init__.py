"""Personalisation of text-to-music models: the repeated parts of the notebooks.

Nothing is imported here, so that `import tmp_utils` costs nothing: import the module that answers the question.

Sound and words
    audio       : how sound becomes numbers (clips, log-mel, mixing, loudness).
    wav         : whether a sound file is all there.
    concepts    : what can be learned (the catalogue, a folder of recordings).
    prompts     : what is asked (training, reconstruction and editability prompts).
    browser     : a widget to look at and listen to the concepts.
    paper_clips : fetching the paper's own clips (`python -m tmp_utils.paper_clips`).
    profiles    : at which size (pocket, paper, smoke), and the study's setups.

Models
    backbone    : which model (an AudioLDM pipeline from a folder or a hub id).
    pipelines   : where a pipeline is, and how it is opened.
    griffin_lim : clips from log-mel spectrograms with nothing learned.
    blank       : the right shapes with random weights, for tests and timing.
    personalize : how a concept is learned (one loop, several methods) and kept (adapters).
    memory      : what to say when a GPU's memory is full.
    public_loop : what users of the paper's public code run, to time and to check against.
    export      : adapters for other programs.
    generate    : what it sounds like (adapter + prompts + seeds -> clips).
    transfer    : style transfer (clip + adapter + strength -> clip).
    inversion   : how a source becomes noise, for style transfer.
    sweep       : transfers over strengths, kept as runs.
    pocket      : where the pocket model comes from.

Measures
    embed       : how clips and prompts are compared (CLAP).
    embed_laion : the paper's own CLAP checkpoint.
    vggish      : the embedding that FAD was defined on.
    metrics     : CLAP-A, CLAP-T and their references.
    distances   : FAD and KAD.
    intervals   : how sure a number is.
    music       : tempo, loudness, key and scale.
    preservation : what of a source a transfer keeps.
    score       : a run's clips -> its rows of the results table.
    search      : which learning rates suit a profile (`python -m tmp_utils.search`).
    overfitting : what fine-tuning forgets (the path of a training, language drift).
    comparisons : what the results table says when its rows are set beside each other.
    pooled      : FAD and KAD over all concepts of a setup.
    findings    : whether the paper's findings hold here.
    equivalence : whether a faster sampler gives the same scores.
    samplers    : that question, measured for a profile and published.
    survey      : whether people agree (pairs, page, answers, analysis).
    figures     : pictures of a tidy table.

The study
    parameters  : a notebook's parameters as a command line gives them.
    protocol    : one run (learn, generate, score, keep).
    settings    : what decides a run's result.
    runs        : where things are and what is done (folders, manifests, resume).
    collection  : a profile's runs, their concepts and what hears them.
    results     : all runs in one table (`python -m tmp_utils.results`).
    published   : results tables as files.
    listen      : a widget to listen to any cell of the table.
    files       : files that are whole or not there.
    provenance  : what made a result (code, packages, machine).
    study       : the notebooks, headless and in order (`python -m tmp_utils.study`).
    headless    : one notebook, with its progress on the terminal.
    report      : one HTML page of what a study found.
    report_clips : that page's players.
    narrative   : that in sentences.
    readme_figures : the README's picture and table (`python -m tmp_utils.readme_figures`).
    grid        : many runs, on cores or SLURM (`python -m tmp_utils.grid`).
    colab       : what a notebook needs on Google Colab.
    bench       : how long its steps take on this machine (`python -m tmp_utils.bench`).
"""

__version__ = "0.1.0"
