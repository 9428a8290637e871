"""What one participant has heard of a question, by this process's clock.

Conventions: seconds. Listening is timed between the first and the last moment that a player reports to play, and no
more counts as heard than was sent of a clip. One clip plays at a time.
"""

from dataclasses import dataclass, field

from tmp_utils.survey.questions import Question

MIN_HEARD_S = 0.02  # whatever is required, a clip that was never played has not been heard


@dataclass
class _Coverage:
    """Which bytes of a clip were sent, as disjoint intervals [start, stop)."""

    size: int
    parts: list[tuple[int, int]] = field(default_factory=list)

    def add(self, start: int, stop: int) -> None:
        """Count bytes that were sent, each once."""
        apart = [(a, b) for a, b in self.parts if b < start or a > stop]
        joined = [(a, b) for a, b in self.parts if not (b < start or a > stop)] + [(start, stop)]
        self.parts = [*apart, (min(a for a, _ in joined), max(b for _, b in joined))] if stop > start else self.parts

    @property
    def share(self) -> float:
        """Fraction of the clip, in [0, 1]."""
        return sum(b - a for a, b in self.parts) / self.size


class Listening:
    """What was heard of the question at `position`, which was shown at the time `shown`."""

    def __init__(self, position: int, question: Question, shown: float):
        self.position, self.question, self.shown = position, question, shown
        self.played_s = dict.fromkeys(question.slots, 0.0)
        self._coverage: dict[str, _Coverage] = {}
        self._playing: str | None = None
        self._since = 0.0

    def sent(self, slot: str, size: int, start: int, stop: int) -> None:
        """Count the bytes [start, stop) that were sent of a clip of `size` bytes."""
        self._coverage.setdefault(slot, _Coverage(size)).add(start, stop)

    def is_loaded(self, slot: str) -> bool:
        """Whether something of a clip was sent."""
        return slot in self._coverage

    def report(self, slot: str, playing: bool, now: float) -> None:
        """Note that a player plays, or that it has stopped."""
        if playing or self._playing == slot:
            self.credit(now)
            self._playing, self._since = (slot if playing else None), now

    def credit(self, now: float) -> None:
        """Count what has played since the last report, at most the clip's length at a time."""
        if self._playing is not None:
            self.played_s[self._playing] += min(now - self._since, self.question.slot_s(self._playing))
            self._since = now

    def heard_s(self, slot: str) -> float:
        """How much of a clip was heard: what was played of it, and no more than was sent."""
        coverage = self._coverage.get(slot)
        return min(self.played_s[slot], coverage.share * self.question.slot_s(slot)) if coverage else 0.0

    def required_s(self, slot: str, required_s: float) -> float:
        """How much of a clip has to be heard: so many seconds, or all of a shorter one."""
        return min(required_s, self.question.slot_s(slot))

    def missing(self, required_s: float, tolerance_s: float) -> list[str]:
        """The clips of which too little was heard."""
        needed_s = {slot: self.required_s(slot, required_s) - tolerance_s for slot in self.question.slots}
        return [slot for slot in needed_s if self.heard_s(slot) < max(MIN_HEARD_S, needed_s[slot])]
