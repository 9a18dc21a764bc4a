"""Every error that a command turns into a message, and an error in words. No message may lose the first cause."""

from __future__ import annotations


class ConfigurationError(Exception):
    """Settings are missing or wrong; the message names all of them and says how to mend it. Exit code 2."""


class NameTaken(ConfigurationError):
    """Objects that this project did not make stand under names that it would take; the message names all of them."""


class PageNotWritten(ConfigurationError):
    """The status page could not be written; the message names the place and the cause. No cycle fails by it."""


class SourceError(Exception):
    """A source could not be opened or read. Says what happened, what was not done and what to do next."""


class TooLong(SourceError):
    """The source was asked for more than it gives within the time that a statement may take; less may pass."""


class SourceUrlError(SourceError):
    """The URL itself is wrong: no attempt was made. Exit code 2."""


class WarehouseError(Exception):
    """The warehouse could not be opened or written. Says what happened, what was not done and what to do next."""


class TransactionConflict(WarehouseError):
    """Another transaction came in between and this one was rolled back; tried again, it may pass."""


class LockHeld(Exception):
    """Another command works on this warehouse; nothing was done. Exit code 75."""


class ExtractFailed(Exception):
    """At least one table was not landed whole; the message says which, why and what to do next."""


class CycleFailed(Exception):
    """SQLMesh could not finish; the message says in which step, what that means and what to do."""


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
