"""Failures of starting and running, told to the operator in one sentence."""

from __future__ import annotations

from typing import ClassVar


class OperatorError(Exception):
    """Something the operator can put right; the text is one plain sentence without secrets.

    `exit_code` is what the program `trackarr` ends with.
    """

    exit_code: ClassVar[int] = 1

    @property
    def sentence(self) -> str:
        return str(self.args[0])


class DataFolderBusy(OperatorError):
    """Another process holds the lock on the data folder."""


class DataFolderUnusable(OperatorError):
    """The data folder cannot be made, written or reached."""


class ServerDidNotStart(OperatorError):
    """An embedded server ended or stayed silent."""


class ServerUnreachable(OperatorError):
    """A server the operator named does not answer, or refuses the login."""


class ServerUnfit(OperatorError):
    """A server the operator named is too old or too weakly configured."""


class PortTaken(OperatorError):
    """Something else listens on a port we need."""


class SettingsRefused(OperatorError):
    """A setting is unknown, malformed or out of bounds."""

    exit_code = 2


class ProcessDidNotStart(OperatorError):
    """One of our own processes ended, or was not ready in time."""


class NotRunning(OperatorError):
    """A command for a running installation, and none runs here."""
