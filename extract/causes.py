"""An error in words: its own text, and its type's name where it has none. No message may lose the cause."""

from __future__ import annotations


def in_words(error: BaseException) -> str:
    """The error's text, never empty."""
    return str(error).strip() or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of the error's text, never empty."""
    return in_words(error).splitlines()[0].strip()


def with_first(error: BaseException) -> str:
    """The error's text, and that of the one that came first where it led to this one: a clean-up that fails, say."""
    first = error
    seen = {id(first)}
    while (before := first.__cause__ or (None if first.__suppress_context__ else first.__context__)) is not None:
        if id(before) in seen:
            break
        seen.add(id(before))
        first = before
    words, of_first = in_words(error), in_words(first)
    return words if of_first in words else f"{words} (before it: {of_first})"


def within(text: str, size: int) -> str:
    """The text as a VARCHAR of so many bytes can hold it: cut at a character's end, NUL as U+FFFD."""
    return text.replace("\0", "\ufffd").encode(errors="replace")[:size].decode(errors="ignore")
