"""A listening study: whether people prefer what one method made to what another made.

Conventions: a variant is "<method>-<setup>", such as "DB-BL"; a question shows the clips of two variants, its
`first` and `second`, as A and B or as B and A. Answers are "A", "B", "None" or "Cannot decide", the paper's
four (section 4, Human Preference Questionnaire). A table of answers has one row an answer and says where it is from.

questions : a study as it lies in its folder, and each participant's own order and sides.
pairs     : runs -> study folder (pairs of clips at one loudness, catch trials, volume check).
store     : answers in SQLite, one row at each click; CSV out.
session   : what a participant may do next, and whether the clips were listened to.
app       : the page for remote listeners (`python -m tmp_utils survey`).
notebook  : the same session in a notebook.
analysis  : the paper's Table 2 with intervals, sign test, catch trials, agreement with CLAP.
models    : mixed model and Bradley-Terry.
power     : how many participants show which difference, and what published percentages can claim.
simulate  : a simulated rater, for trying all of it.
"""
