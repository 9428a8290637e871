"""The adapter of a run, for whoever wants to use it: notebooks, and sweeps of style transfer.

Conventions: an adapter that no finished run has is learned and kept beside the concept's sweeps, in
`<concept>/transfer-<adapter>/adapter<seed>-<hash>/`.
"""

from collections.abc import Callable

from tmp_utils.inputs.concepts import Concept
from tmp_utils.inputs.profiles import load_setup
from tmp_utils.personalize import Adapter, load_adapter, personalise
from tmp_utils.runs.folder import is_done
from tmp_utils.runs.identity import HASH_CHARS, TRANSFER, identity_hash
from tmp_utils.runs.integrity import check_files, read_manifest
from tmp_utils.runs.lab import Lab
from tmp_utils.runs.protocol import ADAPTER_FILES


def find_adapter(lab: Lab, concept: Concept, method: str, setup: str, seed: int, say: Callable = print) -> Adapter:
    """Return the adapter of a finished run; without one, or where a grid deleted it, learn it beside the sweeps.

    Raises
    ------
    ValueError : the finished run is of other clips, words, hyperparameters or another backbone; the message says of
        which.
    """
    row = load_setup(method, setup)
    identity, finished = lab.identity(concept, row, seed), lab.run_folder(concept, row, seed)
    sweeps = lab.place.run(concept.name, TRANSFER, f"{method}-{setup}", seed).parent
    beside = sweeps / f"adapter{seed}-{identity_hash(identity)[:HASH_CHARS]}"
    done = is_done(finished, identity)
    dropped = done and ADAPTER_FILES[0] in read_manifest(finished).get("dropped", ())
    folder = finished if done and not dropped else beside
    if folder.is_dir():
        check_files(folder, *ADAPTER_FILES)
        adapter = load_adapter(folder)
        say(f"{adapter.name}: taken from {folder.relative_to(lab.place.runs_dir)}.")
        return adapter
    why = "its adapter was deleted by a grid with KEEP=clips" if dropped else "not learned yet"
    say(f"{concept.name} {method}-{setup}, seed {seed}: {why}, so it is trained now.")
    adapter = personalise(lab.backbone, concept, row, seed, profile=lab.profile)
    adapter.save(beside)
    return adapter
