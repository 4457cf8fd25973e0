"""What the database refuses, beside SQLAlchemy's own errors. No message repeats a value of a row."""


class DatabaseRefused(Exception):
    """A person or the caller has to change something; trying again does not help."""


class RoleRefused(DatabaseRefused):
    """A database role is missing, or the login user is not a member of it."""


class ModelConflict(DatabaseRefused, ValueError):
    """The same model name and version is on record with other weights, or with a card of another scale."""


class ModelUnknown(DatabaseRefused, LookupError):
    """A prediction names a model and version that nobody registered."""


class VerdictOutdated(DatabaseRefused):
    """A reading names a revision, or advice, that is no longer current."""


class PolicySuperseded(DatabaseRefused):
    """A policy of reading order was to become active, and another one was registered since its places were begun."""


class ResultInconsistent(DatabaseRefused, ValueError):
    """A result does not fit the study on record: a strange lesion, or ``done`` with a lesion that is not scored."""
