"""Which jobs a grid comes to.

Conventions: a job is named `<kind>/<concept>/<method>-<setup>-seed<k>`; the kind is the number of its notebook, or
"reference" for the untrained backbone, which has none. Jobs know which others make what they read too.

Job            : one cell of the grid.
choose_setups  : "all", "paper", "TI", "TI-BL" -> setups.
plan, plan_metrics : the jobs, and the last of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tmp_utils.commands.grid import job as work
from tmp_utils.files import slug
from tmp_utils.inputs.concepts import Concept, list_concepts, load_concept
from tmp_utils.inputs.profiles import Setup, list_setups, load_profile, load_setup
from tmp_utils.metrics.table import UNTRAINED
from tmp_utils.runs.folder import resolve_runs_dir, run_folder
from tmp_utils.runs.identity import CLASS_NOUN, settings_of
from tmp_utils.runs.provenance import PROJECT_DIR

NOTEBOOKS_DIR = PROJECT_DIR / "notebooks"
PAPER_NOTE = "paper:"  # how data/setups.csv marks the paper's own setups


@dataclass(frozen=True)
class Job:
    """One cell of the grid.

    Attributes
    ----------
    name : str
        `<kind>/<concept>/<method>-<setup>-seed<k>`; the kind is the notebook's number, or "reference".
    notebook : Path or None
        None asks the untrained backbone, without a notebook.
    parameters : dict
        What the notebook is given.
    run : Path or None
        The run that is finished afterwards.
    output : Path or None
        The executed notebook.
    settings : dict
        What the run's manifest must say: a finished run of other settings is not what was asked for.
    after : tuple of str
        Names of jobs that come first: they make what this one and others read.
    """

    name: str
    notebook: Path | None
    parameters: dict
    run: Path | None
    output: Path | None
    settings: dict = field(default_factory=dict)
    after: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether what it makes is there."""
        return work.is_done(self.output, self.run, self.settings)

    @property
    def why_not(self) -> str:
        """Why it failed; empty if it did not."""
        return work.why_not(self.output or self.run)

    def forget_failure(self) -> None:
        """Take back why it failed, before it is tried again."""
        work.failure(self.output or self.run).unlink(missing_ok=True)


def choose_setups(asked: Sequence[str]) -> list[Setup]:
    """Return setups by name ("TI-BL"), by method ("TI"), the paper's own ("paper"), or "all".

    Raises
    ------
    ValueError
        If a name is none of these; the message lists them.
    """
    known, chosen = list_setups(), []
    for name in asked:
        mine = [s for s in known if name in ("all", s.method, s.name) or (name == "paper" and PAPER_NOTE in s.note)]
        if not mine:
            names = ", ".join(s.name for s in known)
            raise ValueError(f'unknown setup "{name}"; choose all, paper, a method such as TI, or of: {names}.')
        chosen += [setup for setup in mine if setup not in chosen]
    return chosen


def plan(
    profile: str,
    concepts: Sequence[str],
    setups: Sequence[Setup],
    seeds: Sequence[int],
    runs_dir: Path,
    notebooks_dir: Path = NOTEBOOKS_DIR,
) -> list[Job]:
    """Return the jobs of a grid; wrong names of profile and concepts fail here, before anything runs.

    For each concept and seed there is also the untrained backbone, and where a method beyond TI and DB is asked for,
    DB-BL, which notebook 03 compares it with.
    """
    size = load_profile(profile)
    asked = [name for word in concepts for name in (list_concepts() if word == "all" else [word])]
    if any(setup.method not in ("TI", "DB") for setup in setups):
        setups = list(dict.fromkeys([load_setup("DB", "BL"), *setups]))
    common = {"profile": profile, "runs_dir": str(resolve_runs_dir(runs_dir))}
    jobs = {}
    for word, concept in _by_word(asked).items():
        path = Path(word).expanduser()
        given = common | {"concept": str(path.resolve()) if path.is_dir() else word}
        for seed in seeds:
            reference = _reference(given, concept.name, seed, settings_of(size, concept, seed))
            jobs[reference.name] = reference
            for setup in setups:
                settings = settings_of(size, concept, seed, setup)
                job = _training(given, concept.name, seed, setup, settings, reference.name, notebooks_dir)
                jobs[job.name] = job
    return list(jobs.values())


def _by_word(asked: Sequence[str]) -> dict[str, Concept]:
    """Return the concepts by the word that asked for each; two under one name would be one run."""
    found: dict[str, Concept] = {word: load_concept(word) for word in dict.fromkeys(asked)}
    folders: dict[str, Path] = {}
    for concept in found.values():
        folder = concept.clips[0].resolve().parent
        if folders.setdefault(concept.name, folder) != folder:
            raise ValueError(
                f'{folders[concept.name]} and {folder} would both be "{concept.name}"; rename one of the folders.'
            )
    return found


def _reference(given: dict, concept: str, seed: int, settings: dict) -> Job:
    run = run_folder(given["runs_dir"], given["profile"], concept, UNTRAINED, CLASS_NOUN, seed)
    return Job(f"reference/{slug(concept)}/seed{seed}", None, {**given, "seed": seed}, run, None, settings)


def _training(
    given: dict, concept: str, seed: int, setup: Setup, settings: dict, reference: str, notebooks_dir: Path
) -> Job:
    kind = "02" if setup.method == "TI" else "03"
    run = run_folder(given["runs_dir"], given["profile"], concept, setup.method, setup.setup, seed)
    name = f"{slug(concept)}/{run.parent.name}-seed{seed}"
    parameters = {**given, "setups": [setup.setup], "others": [], "seeds": [seed], "in_depth": False}
    after = [reference]
    if setup.method not in ("TI", "DB"):  # notebook 03 shows these beside DB-BL
        parameters |= {"setups": ["BL"], "others": [setup.method]}
        after.append(f"03/{slug(concept)}/DB-BL-seed{seed}")
    output = grid_folder(given["runs_dir"], given["profile"]) / f"{name}.ipynb"
    return Job(f"{kind}/{name}", _notebook(notebooks_dir, kind), parameters, run, output, settings, tuple(after))


def grid_folder(runs_dir: Path, profile: str) -> Path:
    """Where the executed notebooks of a grid are."""
    return resolve_runs_dir(runs_dir) / slug(profile) / "grid"


def plan_metrics(profile: str, runs_dir: Path, notebooks_dir: Path = NOTEBOOKS_DIR) -> Job:
    """Return the job that reads what all others left: notebook 05."""
    notebook, folder = _notebook(notebooks_dir, "05"), grid_folder(runs_dir, profile)
    parameters = {"profile": profile, "runs_dir": str(resolve_runs_dir(runs_dir))}
    return Job(f"05/{notebook.stem}", notebook, parameters, None, folder / f"{notebook.stem}.ipynb")


def _notebook(folder: Path, number: str) -> Path:
    found = sorted(Path(folder).glob(f"{number}_*.ipynb"))
    if len(found) != 1:
        raise FileNotFoundError(f"{folder} holds {len(found)} notebooks {number}_*.ipynb; the grid needs one.")
    return found[0].resolve()
