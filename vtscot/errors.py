"""The errors a user may see. Each names what was read, where, and the way out; none is shown with a traceback.

Exit codes of the command line: 0 done, 1 failure (`VtscotError`), 2 usage (`UsageError`), 130 interrupted.
"""

COST_REACHED = "max-cost"  # why a query was not asked


class VtscotError(Exception):
    """Something the user can act on; its text is one line."""

    exit_code = 1


class UsageError(VtscotError):
    """The command, the recipe or an option is wrong."""

    exit_code = 2


class DataError(VtscotError):
    """A dataset on disk is missing, broken or not what it claims to be."""


class SplitError(DataError):
    """A dataset without the split that was asked for; `splits` are those it has."""

    def __init__(self, message: str, splits: tuple[str, ...]) -> None:
        super().__init__(message)
        self.splits = splits


class MaskError(DataError):
    """An RLE that does not parse, or masks of different sizes where one size is needed."""


class FrameError(DataError):
    """A frame or a video that is missing or cannot be decoded."""


class EpisodeError(VtscotError):
    """A turn or an episode that breaks the grammar."""


class TeacherError(VtscotError):
    """A teacher's answer that cannot be used; `retryable` tells whether asking again later may help."""

    def __init__(self, message: str, *, reason: str, retryable: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


class CostError(TeacherError):
    """The limit of what a run may cost is reached: what is not asked yet waits for a higher one."""

    def __init__(self, limit: float, spent: float) -> None:
        message = f"not asked: {spent:.4f} are spent and the limit is {limit:g}"
        super().__init__(message, reason=COST_REACHED, retryable=True)


class StoppedError(VtscotError):
    """A build that stopped at its cost limit, with everything saved; the same command with a higher one goes on."""


class EndpointError(VtscotError):
    """The endpoint as a whole cannot be used (no such host, key refused): every further request would fail."""


class RunError(VtscotError):
    """A run directory that is made with other settings, by another version, or in use."""


class PublishError(VtscotError):
    """A dataset that is not fit to be published, or a Hub that refuses it."""


class PolicyError(VtscotError):
    """A policy that cannot be loaded or saved, or an episode it cannot be shown."""
