"""Many runs at once: one notebook execution for each (concept, method, setup, seed), on cores or on a cluster.

Conventions: `python -m tmp_utils grid --concepts all --setups all --n-seeds 2` works out the jobs, leaves out what is
done, and has Snakemake schedule the rest by `notebooks/grid.smk`; at the end notebook 05 reads what is there. Nothing
is remembered but files: a job is done when its executed notebook, `<runs_dir>/<profile>/grid/<concept>/<job>.ipynb`,
and its run are there, so a killed grid goes on where it was. A job that finds another grid at its work waits for it.

plan   : concepts, setups and seeds -> jobs.
job    : one job, whoever else is at work (`python -m tmp_utils grid-job`).
engine : Snakemake, on this machine's cores or on SLURM.
"""
