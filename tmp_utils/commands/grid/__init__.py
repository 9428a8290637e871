"""Many runs at once: one notebook execution for each concept, setup and seed, on cores or on a cluster.

Conventions: `python -m tmp_utils grid --concepts all --setups all --n-seeds 2` works out the cells and has Snakemake
schedule those that are not done by `notebooks/grid.smk`; at the end notebook 05 reads what is there. The state is in
files alone, so a killed grid goes on where it was. A job whose cell another grid is making waits for it.

cells   : concepts, setups and seeds -> cells.
job     : one cell made, whoever else is at work (`python -m tmp_utils grid-job`).
disk    : how much a grid will write, whether that fits, and adapters that are not kept.
engine  : Snakemake, on this machine's cores or on SLURM.
command : the command line.
"""
