"""What is installed, by three files that must agree; and the commands, which must run."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tmp_utils
from tmp_utils.commands import COMMANDS, run

ROOT = Path(__file__).resolve().parents[1]
PACKAGES_OF_THE_STUDY = {
    "jupyterlab",
    "papermill",
    "torch",
    "diffusers",
    "transformers",
    "laion-clap",
    "essentia",
    "pyloudnorm",
    "ipywidgets",
    "plotly",
}
NOT_IN_THE_LOCK = {"torchvision"}  # the build from PyPI does not load beside a CPU build of torch
INSTALLERS = {"pip", "setuptools", "wheel"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(extra: str | None = None) -> list[Requirement]:
    """Return the direct requirements of the package, or of an extra with the extras it names."""
    lines = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found = []
    for requirement in map(Requirement, lines):
        own = canonicalize_name(requirement.name) == canonicalize_name(PROJECT["name"])
        found += [r for name in requirement.extras for r in requirements(name)] if own else [requirement]
    return found


def everything() -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in requirements() + requirements("all")}


def entries(lock: str = "requirements.lock") -> dict[str, list[str]]:
    """Return the pins of a lock, each with its hashes."""
    text = re.sub(r"^#.*\n", "", (ROOT / lock).read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line.split(" --hash=") for line in re.sub(r" \\\n +", " ", text).splitlines() if line]
    return {line[0]: line[1:] for line in lines}


def pins() -> list[Requirement]:
    return list(map(Requirement, entries()))


def lock() -> dict[str, str]:
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins())
    return {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins()}


def test_the_ten_packages_of_the_study_are_declared_and_locked():
    assert set(everything()) >= PACKAGES_OF_THE_STUDY
    assert set(lock()) >= PACKAGES_OF_THE_STUDY
    assert lock()["torch"] == "2.13.0"


def test_every_declared_package_is_locked_at_a_version_its_range_allows():
    for name, requirement in everything().items():
        if name not in NOT_IN_THE_LOCK:
            assert requirement.specifier.contains(lock()[name], prereleases=True), name


def test_the_lock_names_no_place_and_no_installer():
    assert not [pin for pin in entries() if re.search(r"://|@|\bfile:|\+", pin)]
    assert not set(lock()) & (NOT_IN_THE_LOCK | INSTALLERS)
    assert not [name for name in lock() if name.startswith(("nvidia", "triton"))]


@pytest.mark.parametrize("lock", ["requirements.lock", "notebooks/grid.lock"])
def test_every_package_of_a_lock_is_checked_by_its_sha256(lock):
    for pin, hashes in entries(lock).items():
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pin
    assert (
        f"--require-hashes{' --no-deps' * (lock == 'requirements.lock')} -r {lock}" in (ROOT / "Makefile").read_text()
    )


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="not the environment that make creates")
def test_the_lock_is_what_make_installed():
    here = [pin for pin in pins() if pin.marker is None or pin.marker.evaluate()]
    installed = {pin.name: version(pin.name).partition("+")[0] for pin in here}
    assert installed == {pin.name: lock()[canonicalize_name(pin.name)] for pin in here}


def test_conda_installs_python_3_11_and_everything_else_through_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (from_pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert "python=3.11" in environment["dependencies"]
    assert from_pip == ["-e .[all]"]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains("3.11")


def test_the_extra_all_holds_every_other_extra():
    named = {canonicalize_name(r.name) for extra in PROJECT["optional-dependencies"] for r in requirements(extra)}
    assert named <= set(everything())


def test_numpy_is_not_pinned_so_that_colab_keeps_its_own():
    numpy = everything()["numpy"].specifier
    assert numpy.contains("1.26.4") and numpy.contains("2.1.0")


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tmp_utils.__version__
    assert "version" in PROJECT["dynamic"]


def test_the_package_and_its_places_import_nothing_heavy():
    heavy = "{'torch', 'diffusers', 'transformers', 'essentia', 'plotly', 'pandas'}"
    program = f"import sys, tmp_utils, tmp_utils.runs.place; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def make(*arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)


def test_make_help_lists_every_command_in_one_line_each():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (help .*)$", makefile, flags=re.MULTILINE)
    listed = re.findall(r"^  make (\S+) +\S", make("help").stdout, flags=re.MULTILINE)
    assert listed == phony.split()


def test_every_command_of_the_makefile_exists_and_explains_itself(capsys):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    called = set(re.findall(r"-m tmp_utils (\S+)", makefile))
    assert called and called <= COMMANDS.keys()
    for name in COMMANDS:
        with pytest.raises(SystemExit, match="0"):
            run([name, "--help"])
        assert f"python -m tmp_utils {name}" in capsys.readouterr().out


def test_make_passes_on_what_it_is_given():
    answer = make("-n", "study", "CONCEPTS=sitar oud", "SEEDS=0 1", "PROFILE=smoke", "RUNS=/x y")
    assert '--profile smoke --runs-dir "/x y" --concepts sitar oud --seeds 0 1' in answer.stdout
    assert (
        '--runs-dir "runs" --concepts sitar oud  --share'
        in make("-n", "survey", "CONCEPTS=sitar oud", "SURVEY=--share").stdout
    )


def test_a_machine_without_python_3_11_is_told_so():
    answer = make("install", "PYTHON=")
    assert answer.returncode != 0
    assert "No Python 3.11 found" in answer.stderr


def test_git_ignores_what_runs_and_installing_write():
    for path in ["runs/pocket/run.json", ".venv", ".venv/bin/python", "tmp_utils/__pycache__/x.pyc"]:
        answer = subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT)
        if answer.returncode == 128:
            pytest.skip("not a git checkout")
        assert answer.returncode == 0, path
