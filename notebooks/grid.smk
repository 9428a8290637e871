# The grid: one papermill execution of a notebook for each (concept, method, setup, seed), on cores or on SLURM.
# Started by `make grid` (`python -m tmp_utils grid`), which writes the configuration into a folder of its own:
#   jobs: name -> names of the jobs that come first; orders/<name>.json: what each is (see tmp_utils/grid/job.py)
#   python, project, threads, gpus: with what, and on how much, a job runs
# `done/` only tells this Snakemake how far it is. What is finished is known by the runs themselves.

JOBS = config["jobs"]


rule all:
    input:
        expand("done/{job}", job=JOBS),


# The untrained backbone, which every setup of a concept and seed is compared with.
rule reference:
    output:
        touch("done/reference/{job}"),
    params:
        order="orders/reference/{job}.json",
    threads: config["threads"]
    resources:
        gpu=config["gpus"],
        attempt=lambda wildcards, attempt: attempt,
    shell:
        "PYTHONPATH={config[project]:q} OMP_NUM_THREADS={threads} "
        "{config[python]:q} -m tmp_utils grid-job {params.order:q} --attempt {resources.attempt}"


use rule reference as textual_inversion with:
    input:
        lambda wildcards: expand("done/{job}", job=JOBS[f"02/{wildcards.job}"]),
    output:
        touch("done/02/{job}"),
    params:
        order="orders/02/{job}.json",


use rule reference as dreambooth with:
    input:
        lambda wildcards: expand("done/{job}", job=JOBS[f"03/{wildcards.job}"]),
    output:
        touch("done/03/{job}"),
    params:
        order="orders/03/{job}.json",


# Last, and whatever failed before: what is there, in one table.
use rule reference as metrics with:
    output:
        touch("done/05/{job}"),
    params:
        order="orders/05/{job}.json",
