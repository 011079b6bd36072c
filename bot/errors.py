"""Every error class of the bot, split by who is wrong: us, the venue or the operator."""


class OperatorError(Exception):
    """The operator's input is wrong: one line that names file, key and what is allowed. Exit status 2."""


class OurFault(Exception):
    """A broken promise inside the process. Never caught: the process ends and is started again."""


class IllegalTransition(OurFault):
    """An order was asked to make a move that its table does not have. The order is unchanged."""


class StreamOverflow(OurFault):
    """A stream whose messages may not be lost was full."""


class SpoolLost(OurFault):
    """What waits for the database cannot be kept: the spool is full, or its disk fails."""


class VenueError(Exception):
    """The venue, or the way to it, is wrong. Handled where the call is made."""


class VenueRejected(VenueError):
    """The venue said no and did nothing. `code` is the venue's own (0 where it gave none)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class OutcomeUnknown(VenueError):
    """The request may or may not have been executed. Ask the venue before doing anything else."""


class VenueUnavailable(VenueError):
    """The venue refused to work for now (overload, ban, no connection) and did nothing."""

    def __init__(self, message: str, retry_at: int | None = None, code: int = 0) -> None:
        super().__init__(message)
        self.retry_at = retry_at  # ms UTC, where the venue said so
        self.code = code  # the venue's own, 0 where it gave none


class VenueDisagrees(VenueError):
    """The venue's word contradicts ours, or its own documents, in a way that no rule settles."""

    def __init__(self, message: str, *, legible: bool = True) -> None:
        super().__init__(message)
        self.legible = legible  # False: it was no JSON at all, so that nothing was said


class DatabaseAway(Exception):
    """The database does not answer, and what was asked cannot wait for it. What is written meanwhile is spooled."""


class PluginFault(Exception):
    """A plugin broke its contract. The signal is refused with the plugin's name; nothing opens."""

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(f"{plugin}: {reason}")
        self.plugin = plugin
        self.reason = reason


class ModelRefused(Exception):
    """A checkpoint or an input was refused by name; the loaded model stays as it was."""
