"""The cells of a grid: what each makes, and whether it is made.

Conventions: a cell is a concept, a setup and a seed, named `<concept>/<method>-<setup>/seed<k>` as its run folder is.
The setup `UNTRAINED_CELL` is the untrained backbone, which needs no notebook and which every setup of a concept and
seed is compared with. Notebook 05, which reads what all cells left, is the cell `NOTEBOOK_05`. A cell is done when
its executed notebook, `<runs_dir>/<profile>/grid/<concept>/<setup>-seed<k>.ipynb`, and its run are there and nothing
failed since; beside the notebook, `...-failed.txt` says why it failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tmp_utils.findings.verdicts import paper_table
from tmp_utils.inputs.concepts import Concept, list_concepts, load_concept
from tmp_utils.inputs.profiles import Setup, list_setups, load_profile
from tmp_utils.metrics.table import UNTRAINED
from tmp_utils.runs.identity import CLASS_NOUN, differences, identity_of
from tmp_utils.runs.integrity import MANIFEST, read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.provenance import PROJECT_DIR

NOTEBOOKS_DIR = PROJECT_DIR / "notebooks"
UNTRAINED_CELL = f"{UNTRAINED}-{CLASS_NOUN}"
NOTEBOOK_05 = "metrics"
ALONE = ("TI", "DB")  # methods that need no other; notebook 03 shows the rest beside DB-BL
BESIDE = "DB-BL"


@dataclass(frozen=True)
class Cell:
    """One cell of the grid.

    Attributes
    ----------
    place, notebooks_dir : where it is made, and from what.
    setup : "TI-BL", `UNTRAINED_CELL` or `NOTEBOOK_05`.
    concept : a name in the catalogue, or a folder; "" for `NOTEBOOK_05`.
    """

    place: Place
    notebooks_dir: Path
    setup: str
    concept: str = ""
    seed: int = 0

    @cached_property
    def _concept(self) -> Concept:
        return load_concept(self.concept)

    @cached_property
    def chosen(self) -> Setup | None:
        """The setup; None for the reference and `NOTEBOOK_05`."""
        return None if self.setup in (UNTRAINED_CELL, NOTEBOOK_05) else choose_setups([self.setup])[0]

    @property
    def method(self) -> str:
        """The method that learns; "" for the reference and `NOTEBOOK_05`."""
        return self.chosen.method if self.chosen else ""

    @property
    def name(self) -> str:
        """The run folder's name below the profile's."""
        return NOTEBOOK_05 if self.run is None else "/".join(self.run.parts[-3:])

    @cached_property
    def run(self) -> Path | None:
        """The run that is finished afterwards; None for `NOTEBOOK_05`."""
        if self.setup == NOTEBOOK_05:
            return None
        names = (self.chosen.method, self.chosen.setup) if self.chosen else (UNTRAINED, CLASS_NOUN)
        return self.place.run(self._concept.name, *names, self.seed)

    @cached_property
    def identity(self) -> dict:
        """The run's identity, as far as it needs no loaded model."""
        return identity_of(load_profile(self.place.profile), self._concept, self.seed, self.chosen)

    @cached_property
    def notebook(self) -> Path | None:
        """The notebook that makes it; None for the reference."""
        if self.setup == UNTRAINED_CELL:
            return None
        number = "05" if self.setup == NOTEBOOK_05 else "02" if self.chosen.method == "TI" else "03"
        notebooks = sorted(Path(self.notebooks_dir).glob(f"{number}_*.ipynb"))
        if len(notebooks) != 1:
            raise FileNotFoundError(
                f"{self.notebooks_dir} holds {len(notebooks)} notebooks {number}_*.ipynb; the grid needs one."
            )
        return notebooks[0].resolve()

    @property
    def output(self) -> Path | None:
        """The executed notebook; None for the reference."""
        if self.notebook is None:
            return None
        folder, seed = grid_folder(self.place), f"seed{self.seed}"
        if self.run is None:
            return folder / f"{self.notebook.stem}.ipynb"
        return folder / self.run.parts[-3] / f"{self.run.parts[-2]}-{seed}.ipynb"

    @property
    def parameters(self) -> dict:
        """What the notebook is given."""
        common = {"profile": self.place.profile, "runs_dir": str(self.place.runs_dir)}
        if self.chosen is None:
            return common
        alone = self.chosen.method in ALONE
        setups, others = ([self.chosen.setup], []) if alone else (["BL"], [self.chosen.method])
        given = {"concept": self.concept, "setups": setups, "others": others, "seeds": [self.seed]}
        return common | given | {"in_depth": False}

    @property
    def first(self) -> list[str]:
        """Setups of the same concept and seed that come before it: it reads what they make."""
        if self.chosen is None:
            return []
        return [UNTRAINED_CELL] if self.chosen.method in ALONE else [UNTRAINED_CELL, BESIDE]

    @property
    def failure(self) -> Path:
        """The file that says why it failed."""
        made = self.output or self.run
        return made.with_name(f"{made.stem}-failed.txt")

    @property
    def why_not(self) -> str:
        """Why it failed; empty if it did not, as far as is known."""
        return self.failure.read_text(encoding="utf-8").strip() if self.failure.exists() else ""

    @property
    def done(self) -> bool:
        """Whether the executed notebook and the run are there, and nothing failed since."""
        if (self.output is not None and not self.output.exists()) or self.failure.exists():
            return False
        return self.run is None or self.run_done

    @property
    def run_done(self) -> bool:
        """Whether the run is there, and of these settings."""
        if not (self.run / MANIFEST).exists():
            return False
        parameters = read_manifest(self.run)["parameters"]
        return not differences(
            {name: parameters[name] for name in parameters.keys() & self.identity.keys()}, self.identity
        )


def grid_folder(place: Place) -> Path:
    """Where the executed notebooks of a grid are."""
    return place.folder / "grid"


def cells(
    place: Place,
    concepts: Sequence[str],
    setups: Sequence[Setup],
    seeds: Sequence[int],
    notebooks_dir: Path = NOTEBOOKS_DIR,
    beside: bool = True,
) -> list[Cell]:
    """Return the cells of a grid, each after those that come first; wrong names fail here, before anything runs.

    `beside` adds `BESIDE` where a method needs it in notebook 03; a grid without notebooks does not.
    """
    load_profile(place.profile)
    names = [setup.name for setup in setups]
    if beside and any(setup.method not in ALONE for setup in setups):
        names = [BESIDE, *names]
    given = [name for word in concepts for name in (list_concepts() if word == "all" else [word])]
    return [
        Cell(place, notebooks_dir, setup, concept, seed)
        for concept in _distinct(given)
        for seed in dict.fromkeys(seeds)
        for setup in dict.fromkeys([UNTRAINED_CELL, *names])
    ]


def _distinct(given: Sequence[str]) -> list[str]:
    """Return concepts' names and the full paths of folders; two of one name would be one run."""
    words = [str(Path(word).expanduser().resolve()) if Path(word).expanduser().is_dir() else word for word in given]
    folders: dict[str, Path] = {}
    for word in dict.fromkeys(words):
        concept = load_concept(word)
        folder = concept.clips[0].resolve().parent
        if folders.setdefault(concept.name, folder) != folder:
            raise ValueError(
                f'{folders[concept.name]} and {folder} would both be "{concept.name}"; rename one of the folders.'
            )
    return list(dict.fromkeys(words))


def choose_setups(words: Sequence[str]) -> list[Setup]:
    """Return setups by name ("TI-BL"), by method ("TI"), the paper's ("paper"), or "all".

    Raises
    ------
    ValueError : a word is none of these; the message lists them.
    """
    known, chosen = list_setups(), []
    papers = {f"{row.method}-{row.setup}" for row in paper_table("table1").itertuples()}
    for word in words:
        meant = [s for s in known if word in ("all", s.method, s.name) or (word == "paper" and s.name in papers)]
        if not meant:
            names = ", ".join(s.name for s in known)
            raise ValueError(f'unknown setup "{word}"; choose all, paper, a method such as TI, or of: {names}.')
        chosen += [setup for setup in meant if setup not in chosen]
    return chosen
