"""A listening study: whether people prefer what one method made to what another made.

Conventions: a variant is "<method>-<setup>", such as "DB-BL"; a question plays the clips of two variants, its
`first` and `second`, as A and B or as B and A. Answers are "A", "B", "None" or "Cannot decide", the paper's
four (section 4, Human Preference Questionnaire). A table of answers has one row an answer, with its source.

about     : what participants are told before they agree, and what they get at the end.
questions : a questionnaire as it lies in its folder, and each participant's code, order and sides.
pairs     : clips of two variants for the same prompt, found in the runs.
building  : pairs -> questionnaire (practice, catch trials and headphone test added).
stimuli   : clips at one loudness, and the foils of catch trials.
headphones: a test that loudspeakers fail.
store     : answers in SQLite, one row at each click; CSV out.
limits    : how many can start from one place.
listening : what counts as heard.
session   : what a participant may do next, from consent to thanks.
app       : the page for remote listeners (`python -m tmp_utils survey`).
doors     : what the page's server refuses, and how it sends clips.
notebook  : the same session in a notebook.
analysis  : the paper's Table 2 with intervals, sign test, catch trials, agreement with CLAP.
models    : mixed model and Bradley-Terry.
power     : how many participants show which difference, and what published percentages can claim.
simulate  : a simulated rater, for trying all of it.
"""
