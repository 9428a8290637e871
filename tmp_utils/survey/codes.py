"""Participants' codes, such as "K7QF3-MX2AB": random, and understood as people type them."""

import re
import secrets

ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that reads like another character
CODE_CHARS = 10


def new_code() -> str:
    """A random code of 49 bits."""
    return _grouped("".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS)))


def tidy_code(typed: str) -> str | None:
    """The code that was meant by what was typed, or None if it cannot be one."""
    letters = re.sub(r"[\s-]", "", typed.upper()) if len(typed) <= 4 * CODE_CHARS else ""
    valid = len(letters) == CODE_CHARS and set(letters) <= set(ALPHABET)
    return _grouped(letters) if valid else None


def _grouped(letters: str) -> str:
    return f"{letters[: CODE_CHARS // 2]}-{letters[CODE_CHARS // 2 :]}"
