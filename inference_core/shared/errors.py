# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that the user can fix. Each message says what happened, where, and what to do about it."""


class DuohandError(Exception):
    """Base of every error that the user can fix; the command line turns it into exit code 2."""

    def __str__(self) -> str:
        """The message on one line, whatever the names in it hold."""
        return " ".join(super().__str__().split("\n"))


class FootageError(DuohandError):
    """The footage cannot be opened, read or used."""


class HandModelError(DuohandError):
    """A hand model file is missing, malformed, or has invalid contents."""


class WeightsError(DuohandError):
    """Network weights are missing, truncated, or belong to another network."""


class TakeError(DuohandError):
    """A take file cannot be read, written or trusted."""


class RequestError(DuohandError):
    """A setting or a combination of settings is not possible."""


class OutputInUseError(RequestError):
    """Another run is writing the output."""


def reason_of(error: Exception) -> str:
    """What an error says, of the system's without its number and the name of a temporary file."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
