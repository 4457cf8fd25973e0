"""What cannot be done on this machine, for want of a right or of a program."""


class NotPossibleHere(Exception):
    """A fault cannot be done on this machine; the reason stands behind it."""
