# The grid: a job for each concept, setup and seed, on cores or on SLURM; notebook 05 comes last.
# Started by `make grid` (`python -m tmp_utils grid`), which writes the configuration into a folder of its own:
#   cells: names, <concept>/<setup>/seed<k>; concepts: name -> name or folder; first: setup -> setups that come before it
#   profile, runs_dir, notebooks_dir: what every job is given; keep: all, or clips without adapters; python, project, threads, gpus: on what it runs
# `done/` only says how far this Snakemake is, and begins with what was done before. Whether a run is finished is
# decided by the run itself (see tmp_utils/commands/grid/cells.py).

JOB = (
    "PYTHONPATH={config[project]:q} OMP_NUM_THREADS={threads} {config[python]:q} -m tmp_utils grid-job "
    "--profile {config[profile]:q} --runs-dir {config[runs_dir]:q} --notebooks-dir {config[notebooks_dir]:q} "
    "--keep {config[keep]} "
)


wildcard_constraints:
    concept="[^/]+",
    setup="[^/]+",
    seed=r"\d+",


rule all:
    input:
        expand("done/{cell}", cell=config["cells"]),


rule run:
    input:
        lambda w: [ancient(f"done/{w.concept}/{before}/seed{w.seed}") for before in config["first"][w.setup]],
    output:
        touch("done/{concept}/{setup}/seed{seed}"),
    log:
        "logs/{concept}/{setup}/seed{seed}.txt",
    params:
        concept=lambda w: config["concepts"][w.concept],
    message:
        "{wildcards.concept}/{wildcards.setup}/seed{wildcards.seed}"
    threads: config["threads"]
    resources:
        gpu=int(config["gpus"]),
        attempt=lambda wildcards, attempt: attempt,
    shell:
        JOB + "--concept {params.concept:q} --seed {wildcards.seed} {wildcards.setup} --attempt {resources.attempt} "
        ">{log:q} 2>&1"


# Last, whatever failed before: the table of what is there.
rule metrics:
    output:
        touch("done/metrics"),
    log:
        "logs/metrics.txt",
    message:
        "metrics"
    threads: config["threads"]
    resources:
        gpu=int(config["gpus"]),
        attempt=lambda wildcards, attempt: attempt,
    shell:
        JOB + "metrics --attempt {resources.attempt} >{log:q} 2>&1"
