"""The one way in which a data set may fail to be made without a bug."""


class Missing(Exception):
    """What a data set is made from is not on this computer; the message says how to get it."""
