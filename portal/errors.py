"""What can't be done because of how things stand, with a sentence for the person who tried."""


class Conflict(Exception):
    """A state that does not allow the request: a stable code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
