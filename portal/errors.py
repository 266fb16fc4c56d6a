"""Why a request is not carried out: a stable code, and a sentence for the person who tried."""


class Refusal(Exception):
    """Base of what is refused with a reason. `message` is shown to people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Conflict(Refusal):
    """The present state does not allow the request."""


class Invalid(Refusal):
    """The input cannot be accepted. `code` is the form's field, or the code of the API's answer."""
