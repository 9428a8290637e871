"""The listening study as widgets, for a supervised session in a notebook.

Conventions: plain ipywidgets, as both version 7 and 8 have them. The rules are those of the web page
(`session.Sessions`); what counts as heard is timed by the kernel, from the press of a play button. Clips are put into
the page as data, without a name.
"""

import base64
import functools
import time
from collections.abc import Callable
from typing import Any

from tmp_utils.survey.about import NEEDED
from tmp_utils.survey.questions import Questionnaire
from tmp_utils.survey.session import DEVICES, TRAINING, Delivery, Refused, Sessions
from tmp_utils.survey.store import Store

NAMES = {"reference": "Play reference", "a": "Play clip A", "b": "Play clip B"}
TONES = ("First", "Second", "Third")
ANSWERS = {"A": "Clip A", "B": "Clip B", "None": "Neither fits", "Cannot decide": "Cannot decide"}
FAILED = "The test did not work with what you listen with, so you cannot take part now. Thank you for trying."


class NotebookSession:
    """Widgets that take one participant through a questionnaire; show `widget`.

    Parameters
    ----------
    questionnaire : its folder gets the answers, in `answers.sqlite`.
    clock : seconds, never going back.
    """

    def __init__(self, questionnaire: Questionnaire, clock: Callable[[], float] = time.monotonic):
        import ipywidgets

        self._widgets = ipywidgets
        self.sessions = Sessions(questionnaire, Store(questionnaire), source="notebook", clock=clock)
        self.message, self.player = ipywidgets.HTML(), ipywidgets.HTML()
        self.body = ipywidgets.VBox([])
        self.widget = ipywidgets.VBox([self.body, self.player, self.message])
        self.state: dict = {"stage": "consent"}
        self.device, self.softest = DEVICES[0], []  # of a round of the headphone test
        self._show()

    def _step(self, action: Callable, *values: Any) -> None:
        """Do one step and show what comes next, or why it is refused."""
        try:
            self.state = action(*values)
            self.message.value = ""
        except Refused as refused:
            self.message.value = f"<b>{refused}</b>"
            return
        self._show()

    def _show(self) -> None:
        self.player.value = ""
        self.body.children = getattr(self, f"_{self.state['stage']}")()

    def _html(self, text: str) -> Any:
        import html

        return self._widgets.HTML(html.escape(text))

    def _button(self, text: str, action: Callable[[], None]) -> Any:
        button = self._widgets.Button(description=text, tooltip=text)
        button.on_click(lambda _button: action())
        return button

    def _consent(self) -> list:
        questionnaire = self.sessions.questionnaire
        texts = [*questionnaire.consent, *(getattr(questionnaire.about, name) for name in NEEDED)]
        agree = self._widgets.Checkbox(description="I am 18 or older and agree to take part", indent=False)
        start = self._button("Start", lambda: self._step(self.sessions.start, agree.value))
        return [*(self._html(text) for text in texts if text), agree, start]

    def _check(self) -> list:
        state, k = self.state, len(self.softest)
        device = self._widgets.RadioButtons(options=DEVICES, value=self.device, description="I use")
        device.observe(lambda change: setattr(self, "device", change["new"]), "value")
        trial = state["round"] * state["trials"] + k
        play = self._button("Play the tones", lambda: self._play(self.sessions.check_clip(state["code"], trial)))
        text = f"Sound {k + 1} of {state['trials']}. Play it, and set a comfortable volume. Which tone is the softest?"
        tones = [self._button(name, lambda tone=tone: self._softest(tone)) for tone, name in enumerate(TONES)]
        code = f"Your code: {state['code']}. You need headphones or earbuds."
        return [self._html(code), device, self._html(text), play, self._widgets.HBox(tones)]

    def _softest(self, tone: int) -> None:
        """Take the answer to a trial, and send all after the last."""
        self.softest.append(tone)
        if len(self.softest) == self.state["trials"]:
            answers, self.softest = self.softest, []
            self._step(self.sessions.check, self.state["code"], self.device, answers)
            self.state = self.sessions.state(self.state["code"])
        self._show()

    def _failed(self) -> list:
        return [self._html(FAILED)]

    def _question(self) -> list:
        state = self.state
        number = "For practice" if state["practice"] else f"Question {state['answered'] + 1} of {state['total']}"
        prompt = f"“{state['prompt']}”" if state["prompt"] else ""
        texts = [self._html(text) for text in (f"{number}. {state['wording']}", prompt) if text]
        plays = [self._button(NAMES[slot], lambda slot=slot: self._listen(slot)) for slot in state["slots"]]
        place = state["code"], state["position"]
        step = functools.partial(self._step, self.sessions.answer, *place)
        answers = [self._button(text, functools.partial(step, choice)) for choice, text in ANSWERS.items()]
        return [*texts, self._widgets.HBox(plays), self._widgets.HBox(answers)]

    def _closing(self) -> list:
        training = self._widgets.RadioButtons(options=TRAINING, description="Training")
        comment = self._widgets.Textarea(description="Comment")
        text = "Have you played an instrument or sung regularly, and for how long?"

        def finish() -> None:
            self._step(self.sessions.finish, self.state["code"], training.value, comment.value)

        return [self._html(text), training, comment, self._button("Finish", finish)]

    def _done(self) -> list:
        return [self._html("Thank you. All your answers are stored.")]

    def _listen(self, slot: str) -> None:
        code, position = self.state["code"], self.state["position"]
        try:
            self._play(self.sessions.clip(code, position, slot))
            self.sessions.listen(code, position, slot, True)
            self.message.value = ""
        except Refused as refused:
            self.message.value = f"<b>{refused}</b>"

    def _play(self, delivery: Delivery) -> None:
        delivery.count(0, len(delivery.content))
        data = base64.b64encode(delivery.content).decode()
        self.player.value = f'<audio controls autoplay src="data:audio/wav;base64,{data}"></audio>'
