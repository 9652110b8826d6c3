"""Why an original is not relayed: for a person to look at, for a later turn, or for good."""

from typing import Literal

from exchange.errors import Text

State = Literal["held", "waiting", "denied", "declined"]
"""A person has to look; what it needs is not there yet; the agreement says no, today; nothing of it could be told."""


class Unfit(Exception):
    """`code` is stable; the text is for the gateway's people and may name the original's parts, never for others."""

    def __init__(self, state: State, code: str, text: Text) -> None:
        super().__init__(f"{state}: {code}")
        self.state = state
        self.code = code
        self.text = text
