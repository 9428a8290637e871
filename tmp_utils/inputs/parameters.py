"""A notebook's parameters as papermill's command line gives them."""

import json


def listed(value: list | str | float, may_be_empty: bool = False) -> list:
    """A list from a notebook's parameter: a list, JSON text (``-p setups '["BL","MW"]'``), or one word or number.

    Raises
    ------
    ValueError : for an empty list that may not be, and for text that looks like a list and is none.
    """
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"{value} is not a list ({error}); write it with double quotes: '[\"BL\", 2]'.") from error
    elif isinstance(value, str):
        value = [value] if value else []
    elif not hasattr(value, "__iter__"):
        value = [value]
    if not (value or may_be_empty):
        raise ValueError("an empty list: name at least one.")
    return list(value)


def seeds_of(value: list | str | int) -> list[int]:
    """Seeds from a notebook's parameter: as `listed`, and numbers with commas or spaces between them ("0 1").

    Raises
    ------
    ValueError : for anything but whole numbers.
    """
    if isinstance(value, str) and not value.strip().startswith("["):
        value = value.replace(",", " ").split()
    try:
        seeds = [int(str(seed)) for seed in listed(value)]  # as text, where 1.5 is no whole number
    except (TypeError, ValueError) as error:
        raise ValueError(f"seeds {value!r}: expected whole numbers, such as [0, 1], 3 or '0 1'.") from error
    return list(dict.fromkeys(seeds))
