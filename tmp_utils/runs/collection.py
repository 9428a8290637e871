"""A profile's finished runs, their concepts and their embedder, for whoever measures them.

Conventions: an embedder is loaded when the first clip has to be embedded.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from tmp_utils.inputs import concepts
from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import load_profile
from tmp_utils.metrics.table import UNTRAINED, read_table
from tmp_utils.runs.identity import TRANSFER
from tmp_utils.runs.integrity import damages, read_manifest
from tmp_utils.runs.place import Place
from tmp_utils.runs.protocol import METRICS
from tmp_utils.runs.score import study_embedders

SWEEP = f"{TRANSFER}-"  # a sweep's folder begins with it; its rows come from notebook 04


class Collection:
    """The finished runs of a profile, and the embedder that scores them: loaded when one has to be scored.

    Parameters
    ----------
    place : where they are.
    recordings : names or folders; where the clips of concepts outside the catalogue are, if not where the runs found
        them.
    embedder, pooled_embedder : specs of `embed.load_embedder`; "" is what the runs were scored with (the profile's, if
        none was), and `embedder`.
    """

    def __init__(
        self, place: Place, recordings: Sequence[str | Path] = (), embedder: str = "", pooled_embedder: str = ""
    ):
        self.place, self.folders = place, place.runs()
        self.spec = embedder or _spec_of(self.folders, load_profile(place.profile).embedder)
        self.pooled_spec = pooled_embedder or self.spec
        self.recordings = user_concepts(place, recordings)
        if all(folder.parent.name.startswith((SWEEP, f"{UNTRAINED}-")) for folder in self.folders):
            raise FileNotFoundError(
                f"no finished runs of a setup in {place.folder}: run notebooks/02_textual_inversion.ipynb and "
                f'03_dreambooth.ipynb with profile="{place.profile}" first, or `make study`.'
            )

    @cached_property
    def embedder(self):
        """Embeds the clips of single runs."""
        return self._load(self.spec)

    @cached_property
    def embedders(self) -> list:
        """The embedders that score every run."""
        return study_embedders(self.embedder)

    @cached_property
    def pooled_embedder(self):
        """Embeds the clips of pooled distances."""
        return self.embedder if self.pooled_spec == self.spec else self._load(self.pooled_spec)

    def _load(self, spec: str):
        from tmp_utils.metrics.embed import load_embedder

        return load_embedder(spec, cache_dir=self.place.cache / "embeddings")

    def concept(self, parameters: Mapping) -> Concept:
        """Return the concept of a run's identity, with the words that its prompts had.

        Raises
        ------
        FileNotFoundError, ValueError : its recordings are gone, or are others than those that the run was made from.
        """
        name, words = parameters["concept"], {word: parameters[word] for word in ("class_noun", "rare_word")}
        try:
            concept = self.recordings[name] if name in self.recordings else concepts.load_concept(name)
        except FileNotFoundError as error:
            remedy = "If it is a folder of recordings, name it in `concepts`; if it was changed, make the run again."
            raise FileNotFoundError(f"{error} {remedy}") from error
        if parameters["clips_hash"] != concepts.clips_hash(concept):
            raise ValueError(
                f"{name}: other recordings than this run was made from ({concept.clips[0].parent}). If they are in "
                "another folder, name it in `concepts`; if they were changed, make the run again."
            )
        return replace(concept, **words)


def user_concepts(place: Place, also: Sequence[str | Path] = ()) -> dict[str, Concept]:
    """Return the concepts of a profile's runs that are a user's recordings, by the runs' names for them.

    Parameters
    ----------
    also : names or folders; of concepts whose recordings are elsewhere now; a folder may have another name there. They
        come before those that the runs' manifests name.

    Notes
    -----
    A folder is the right one if its recordings have the hash of the run's identity.
    """
    named = {concept.name: concept for concept in map(concepts.load_concept, also)}
    manifests = [read_manifest(run) for run in place.runs()]
    folders = dict.fromkeys(manifest["recordings"] for manifest in manifests if manifest.get("recordings"))
    known = [*named.values(), *filter(None, map(_concept_in, folders))]
    by_hash = {concepts.clips_hash(concept): concept for concept in reversed(known)}
    for parameters in (manifest["parameters"] for manifest in manifests):
        if concept := by_hash.get(parameters.get("clips_hash")):
            words = {word: parameters[word] for word in ("class_noun", "rare_word")}
            named[parameters["concept"]] = replace(concept, name=parameters["concept"], **words)
    return named


def _concept_in(folder: str) -> Concept | None:
    """Return the concept in a folder of recordings; None where it is gone or empty."""
    if not Path(folder).is_dir():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the runs know the class noun
        try:
            return concepts.load_concept(folder)
        except ValueError:
            return None


def _spec_of(folders: Sequence[Path], usual: str) -> str:
    """Return the spec of the embedder of the first scored run; `usual` if it is that, or no run is scored."""
    names = next(filter(None, map(embedders_of, folders)), [f"{usual}@"])
    spec = names[0].rpartition("@")[0]  # an embedder's name is its spec, "@" and what its weights are
    kind, _, source = usual.partition(":")
    return usual if spec == f"{kind}:{Path(source).name}" else spec  # laion-clap's name leaves the folder out


def embedders_of(folder: Path) -> list[str]:
    """Return the embedder of a run's CLAP-A; empty where it has no whole table of scores."""
    if not (folder / METRICS).is_file() or damages(folder, METRICS):
        return []
    rows = read_table(folder / METRICS)
    return list(rows.loc[rows["metric"] == "clap_a", "embedder"])
