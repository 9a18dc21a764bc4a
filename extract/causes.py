"""An error in words: its own text, and its type's name where it has none. No message may lose the cause."""

from __future__ import annotations


def in_words(error: BaseException) -> str:
    """The error's text, never empty."""
    return str(error).strip() or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of the error's text, never empty."""
    return in_words(error).splitlines()[0].strip()


def root(error: BaseException) -> BaseException:
    """The error that came first, of those that led to this one."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__ or error.__context__ or error
    return error


def within(text: str, size: int) -> str:
    """The text as a VARCHAR of so many bytes can hold it: cut at a character's end, NUL as U+FFFD."""
    return text.replace("\0", "\ufffd").encode(errors="replace")[:size].decode(errors="ignore")
