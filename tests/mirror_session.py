"""A session that makes a run with a mirror; `python mirror_session.py folder name` is one that never ends."""

import shutil
import subprocess
import sys
from pathlib import Path

from tmp_utils.files import write_text
from tmp_utils.runs.folder import open_run
from tmp_utils.runs.mirror import open_mirror
from tmp_utils.runs.place import Place

IDENTITY = {"method": "TI", "steps": 3}


def place_in(folder: Path) -> Place:
    return Place(folder, "pocket")


def opened(tmp_path: Path, session: str = "first", say=lambda line: None):
    """A mirror, and a run of a session that copies to it."""
    place = place_in(tmp_path / session)
    mirror = open_mirror(tmp_path / "mirror", place, say)
    return mirror, open_run(place.run("sitar", "TI", "BL", 0), IDENTITY, say=say, mirror=mirror)


def write_checkpoint(run, step: int) -> None:
    """As training does: the new one, then without the earlier one, then copied."""
    folder = run.path / "checkpoints"
    (folder / f"step-{step}").mkdir(parents=True)
    write_text(folder / f"step-{step}" / "adapter", f"adapter {step}")
    write_text(folder / f"step-{step}" / "optimizer", f"moments {step}")
    for earlier in folder.iterdir():
        if earlier.name != f"step-{step}":
            shutil.rmtree(earlier)
    run.copy(may_wait=True)


if __name__ == "__main__":
    child = subprocess.Popen(["sleep", "60"])
    _, run = opened(Path(sys.argv[1]), sys.argv[2])
    step = max((int(path.name.removeprefix("step-")) for path in run.path.glob("checkpoints/step-*")), default=0)
    print(step, flush=True)
    while True:
        step += 1
        write_checkpoint(run, step)
