"""A profile's finished runs, their concepts and what hears them, for whoever measures them.

Conventions: an embedder is loaded when something has to be heard.

Collection   : the runs of a profile.
own_concepts : the concepts that are somebody's own recordings, as the runs remember them.
heard_by     : the embedder that a run was scored with.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from tmp_utils.files import slug
from tmp_utils.inputs import concepts
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.metrics.table import UNTRAINED, read_table
from tmp_utils.runs import folder as runs

METRICS = "metrics.csv"
SWEEP = "transfer-"  # a sweep's folder begins with it; its rows come from notebook 04


class Collection:
    """The finished runs of a profile, and the embedder that scores them: loaded when one has to be scored.

    Parameters
    ----------
    runs_dir, profile
        Where they are.
    own_concepts : names or folders
        Where to find the clips of concepts that are not in the catalogue, if not where the runs found them.
    embedder, pooled_embedder : str
        Specs of `embed.load_embedder`; "" is what the runs were scored with (the profile's, if none was), and
        `embedder`.
    """

    def __init__(
        self,
        runs_dir: str | Path,
        profile: str,
        own_concepts: Sequence[str | Path] = (),
        embedder: str = "",
        pooled_embedder: str = "",
    ):
        self.folder, self.folders = runs.resolve_runs_dir(runs_dir) / slug(profile), runs.find_runs(runs_dir, profile)
        self.spec = embedder or _spec_of(self.folders, load_profile(profile).embedder)
        self.pooled_spec = pooled_embedder or self.spec
        self.own = own_concepts_of(self.folders, named(own_concepts))
        if all(folder.parent.name.startswith((SWEEP, f"{UNTRAINED}-")) for folder in self.folders):
            raise FileNotFoundError(
                f"no finished runs of a setup in {self.folder}: run notebooks/02_textual_inversion.ipynb and "
                f'03_dreambooth.ipynb with profile="{profile}" first, or `make study`.'
            )

    @cached_property
    def embedder(self):
        """What hears the clips."""
        return self._load(self.spec)

    @cached_property
    def pooled_embedder(self):
        """What the pooled distances are measured with."""
        return self.embedder if self.pooled_spec == self.spec else self._load(self.pooled_spec)

    def _load(self, spec: str):
        from tmp_utils.metrics.embed import load_embedder

        return load_embedder(spec, cache_dir=self.folder / ".cache" / "embeddings")

    def concept(self, parameters: Mapping) -> Concept:
        """Return a run's concept with the words it was asked for by."""
        name, words = parameters["concept"], {word: parameters[word] for word in ("class_noun", "rare_word")}
        try:
            found = self.own[name] if name in self.own else concepts.load_concept(name)
        except FileNotFoundError as error:
            how = "If it is a folder of your own, name it in `concepts`; if it was changed, make the run again."
            raise FileNotFoundError(f"{error} {how}") from error
        if parameters.get("clips_hash", "") not in ("", concepts.clips_hash(found)):
            raise ValueError(
                f"{name}: other recordings than this run was made from ({found.clips[0].parent}). If they are in a "
                "folder of your own, name it in `concepts`; if they were changed, make the run again."
            )
        return replace(found, **words)


def own_concepts(runs_dir: str | Path, profile: str, also: Sequence[str | Path] = ()) -> dict[str, Concept]:
    """Return the concepts of a profile's runs that are somebody's own recordings, by the runs' names for them.

    Parameters
    ----------
    also : names or folders
        Of concepts whose recordings are elsewhere now; a folder may have another name there.
    """
    return own_concepts_of(runs.find_runs(runs_dir, profile), named(also))


def named(folders: Sequence[str | Path]) -> dict[str, Concept]:
    """Return concepts by their names."""
    return {concept.name: concept for concept in map(concepts.load_concept, folders)}


def own_concepts_of(folders: Sequence[Path], also: Mapping[str, Concept]) -> dict[str, Concept]:
    """Return the concepts that runs were made from, by name, where some folder still holds their recordings.

    Folders in `also` come before those that the runs remember. Which one it is, its recordings tell; of a run that
    does not know its recordings, the name does.
    """
    asked = [(manifest["parameters"], manifest.get("recordings")) for manifest in map(runs.read_manifest, folders)]
    remembered = (_recordings(folder) for folder in dict.fromkeys(folder for _, folder in asked if folder))
    known = [*also.values(), *filter(None, remembered)]
    hashes = [concepts.clips_hash(concept) for concept in known]
    found = dict(also)
    for parameters, _ in asked:
        if not (wanted := parameters.get("clips_hash")):
            continue
        same = [concept for concept, own in zip(known, hashes, strict=True) if own == wanted]
        if same:
            words = {word: parameters[word] for word in ("class_noun", "rare_word")}
            found[parameters["concept"]] = replace(same[0], name=parameters["concept"], **words)
    return found


def _recordings(folder: str) -> Concept | None:
    """Return what is in a folder of recordings; None where it is gone or empty: who needs it says so."""
    if not Path(folder).is_dir():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the runs know the class noun
        try:
            return concepts.load_concept(folder)
        except ValueError:
            return None


def _spec_of(folders: Sequence[Path], usual: str) -> str:
    """Return the spec of what the first scored run was heard with; `usual` if it is that, or none was scored."""
    names = next(filter(None, map(heard_by, folders)), [f"{usual}@"])
    spec = names[0].rpartition("@")[0]  # an embedder's name is its spec, "@" and what its weights are
    kind, _, source = usual.partition(":")
    return usual if spec == f"{kind}:{Path(source).name}" else spec  # laion-clap's name leaves the folder out


def heard_by(folder: Path) -> list[str]:
    """Return the embedder of a run's CLAP-A; empty where it has none."""
    if not (folder / METRICS).is_file():
        return []
    rows = read_table(folder / METRICS)
    return list(rows.loc[rows["metric"] == "clap_a", "embedder"])
