"""All runs together: the results table, the verdicts on the paper's findings, and the report.

results     : collect the results table of a profile.
pooled      : FAD and KAD over all concepts of a setup.
published   : result tables that are shipped in data/published.
words       : numbers, counts and what they are of, as text.
gains       : what learning changes beside the untrained model.
comparisons : differences between setups and methods.
verdicts    : whether each finding of the paper holds here.
claims      : the verdicts sentence by sentence, and two tables of results beside each other.
clip_counts : what more clips and more steps bring.
stopping    : when to stop a training, and whether a rule for it holds.
beyond      : prior preservation and other methods beside the paper's DreamBooth.
mixtures    : what separation does for words that are learned from a mixture.
narrative   : the findings in sentences.
markdown    : the tables and lists of the README.
report      : one HTML page.
charts      : the notebooks' figures with captions, for that page.
page        : figures and players for a page.
listen      : players and widgets for clips in a notebook.
slider      : an adapter's strength as a slider that generates.
"""
