"""Where the runs of a profile are.

Conventions: everything that a profile writes is below `<runs_dir>/<profile>/`; a run is
`<concept>/<method>-<setup>/seed<k>/` there. A folder whose name begins with a dot is being written.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tmp_utils.files import slug
from tmp_utils.runs.integrity import MANIFEST, check_files
from tmp_utils.runs.provenance import PROJECT_DIR

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Place:
    """The folder of a profile's runs; nothing is created.

    Attributes
    ----------
    runs_dir : a relative one is taken from the project's folder; kept as an absolute path.
    profile : the profile's name.
    """

    runs_dir: Path
    profile: str

    def __post_init__(self):
        object.__setattr__(self, "runs_dir", PROJECT_DIR / Path(self.runs_dir).expanduser())

    @property
    def folder(self) -> Path:
        """Everything that this profile writes."""
        return self.runs_dir / slug(self.profile)

    @property
    def cache(self) -> Path:
        """Where embeddings and class clips are stored between runs."""
        return self.folder / ".cache"

    def figures(self, concept: str) -> Path:
        """Where the figures of a concept go."""
        return self.folder / "figures" / slug(concept)

    def run(self, concept: str, method: str, setup: str, seed: int) -> Path:
        """The folder of one run.

        Raises
        ------
        ValueError : the seed is not a whole number from 0 up.
        """
        if int(seed) != seed or seed < 0:
            raise ValueError(f"seed {seed!r} is not a whole number from 0 up. Choose one, such as 0.")
        return self.folder / slug(concept) / f"{slug(method)}-{slug(setup)}" / f"seed{int(seed)}"

    def runs(self) -> list[Path]:
        """The folders of all finished runs, sorted; seed2 comes before seed10.

        A folder that lost its manifest is left out with a warning.
        """
        folders = [path for path in self.folder.glob("*/*/seed*") if re.fullmatch(r"seed\d+", path.name)]
        for folder in sorted(path for path in folders if not (path / MANIFEST).is_file()):
            warnings.warn(f"{folder} has no {MANIFEST} and is left out. Delete it, and run it again.", stacklevel=2)
        finished = [path for path in folders if (path / MANIFEST).is_file()]
        return sorted(finished, key=lambda path: (*path.parts[:-1], int(path.name.removeprefix("seed"))))

    def executions(self) -> dict[str, dict]:
        """The records of the executed notebooks, by notebook; a damaged one is left out with a warning."""
        records = {}
        for path in sorted((self.folder / "notebooks").glob("*.json")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if missing := {"fingerprint", "elapsed_s", "parameters", "runs"} - set(record):
                    raise ValueError(f"without {', '.join(sorted(missing))}")
                records[path.stem] = record
            except (ValueError, TypeError) as error:
                message = f"{path}: damaged ({error}); the study executes this notebook again."
                warnings.warn(message, stacklevel=2)
        return records

    def table(self, name: str = "metrics.csv") -> pd.DataFrame:
        """The tables `name` of all finished runs, one below the other; empty if there are none.

        Raises
        ------
        ValueError : one is not as it was written.
        """
        import pandas as pd

        folders = [folder for folder in self.runs() if (folder / name).exists()]
        for folder in folders:
            check_files(folder, name)
        tables = [pd.read_csv(folder / name, float_precision="round_trip") for folder in folders]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
