"""Why bytes did not become a reading: the codec's share of the labels of `readings_rejected_total`."""

import enum


class Reason(enum.Enum):
    """Values number the members, so that arrays can hold them; 0 stays free for "none"."""

    NOT_DECODABLE = 1  # bytes that are not of the format
    WRONG_TYPE = 2  # an object where a number belongs, a column that is missing, lengths that differ
    NO_SERIES = 3
    BAD_SERIES = 4  # empty, too long, control characters, not UTF-8
    NO_TIME = 5  # neither in the message nor from the broker
    BAD_TIME = 6
    TOO_LARGE = 7  # message
    TOO_MANY_READINGS = 8  # in one message

    @property
    def label(self) -> str:
        return self.name.lower()


LABELS = ("", *(reason.label for reason in Reason))
"""By number."""
