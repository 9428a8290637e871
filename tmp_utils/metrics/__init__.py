"""What is measured, and how sure each number is.

embed           : clips and prompts -> embeddings.
clap            : the embedder of clips and prompts.
clap_checkpoint : the paper's CLAP from its own file.
musicnn         : a second embedder of clips, trained on other music than the first.
vggish          : the network that FAD was defined on.
similarity      : CLAP-A and CLAP-T.
separation      : how well the parts of a mixture, and the words for them, come apart.
distances       : FAD and KAD.
copies          : whether a clip is a copy of a training clip.
music           : tempo, loudness, key and scale.
preservation    : how much of its source a style transfer keeps.
intervals       : confidence intervals and tests.
equivalence     : whether two things differ, or are the same within a margin.
table           : the results table: its columns, rows and files.
scores          : from clips to its rows.
names           : what each metric is called on an axis and in a table.
"""
