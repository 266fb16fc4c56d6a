"""A file or sealed value of which one byte was changed on its disk."""


def flipped(content: bytes, at: int = -1) -> bytes:
    """`content` with one bit of the byte at `at` turned: never equal to what it was.

    A byte set to a fixed value is, once in 256 times, the byte that stood there.
    """
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


def other_letter(text: str, at: int = -2) -> str:
    """`text` with another letter at `at`, by default the last but one.

    The very last letter of base64 may carry no bits of its own.
    """
    letters = list(text)
    letters[at] = "A" if letters[at] != "A" else "B"
    return "".join(letters)
