"""What participants are told about a study before they agree, and what they get at the end.

Conventions: it is written in a small TOML file; `data/survey/about.toml` is the template. Text in angle brackets is a
placeholder that nobody has filled in yet.
"""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tmp_utils.inputs.profiles import DATA_DIR
from tmp_utils.inputs.tables import read_toml, validate

TEMPLATE = DATA_DIR / "survey" / "about.toml"
NEEDED = ("responsible", "purpose", "retention", "withdrawal", "contact")
CONSENT = (
    "You will hear short pieces of sound made by computer programs, and say which of two fits better. "
    "There are {n} questions; they take about {minutes} minutes. You need headphones or earbuds.",
    "We store your answers, when you gave them, how long you listened, what you listened with and your musical "
    "training, under a random code. We do not ask who you are, and store no name, address or device identifier.",
    "Taking part is voluntary. You can stop at any time by closing the page, and come back with your code.",
)
RECRUITED = "The page's address holds {names} from the site that sent you here. We store that with your answers."
PLACEHOLDER = re.compile(r"<[^>]*>")
STRICT = ConfigDict(extra="forbid", str_strip_whitespace=True, arbitrary_types_allowed=True)
Text = Annotated[str, Field(max_length=2000)]
Parameter = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]


@dataclass(frozen=True, config=STRICT)
class About:
    """What participants are told.

    responsible, purpose, retention, withdrawal, contact : shown before they agree, where given.
    completion_code, return_address : shown at the end, where given.
    recruitment : parameters of the page's address that are stored with the answers.
    """

    responsible: Text = ""
    purpose: Text = ""
    retention: Text = ""
    withdrawal: Text = ""
    contact: Text = ""
    completion_code: Text = ""
    return_address: Annotated[str, Field(pattern=r"^(https?://\S+)?$", max_length=2000)] = ""
    recruitment: tuple[Parameter, ...] = ()

    @property
    def unfinished(self) -> list[str]:
        """What still has to be written before strangers can be asked to take part."""
        texts = asdict(self)
        return [name for name in texts if (name in NEEDED and not texts[name]) or PLACEHOLDER.search(str(texts[name]))]


def load_about(path: str | Path) -> About:
    """Read what participants are told.

    Raises
    ------
    FileNotFoundError : there is no such file.
    ValueError : it is not TOML, or a field is unknown or has a value that is not allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Copy {TEMPLATE} and fill it in.")
    return validate(About, read_toml(path), str(path))


def consent(n: int, minutes: int, about: About) -> tuple[str, ...]:
    """What participants agree to: paragraphs, for `n` questions that take so many minutes."""
    recruited = [RECRUITED.format(names=", ".join(about.recruitment))] if about.recruitment else []
    return (CONSENT[0].format(n=n, minutes=minutes), CONSENT[1], *recruited, *CONSENT[2:])
