"""Times as people write them → seconds. Knows nothing of what they are of."""

import re

DIGITS = 6  # of seconds after the point: the same time written in two ways is one
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COLONS = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:[.,]\d+)?)")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")
_TIME_OF_DAY = re.compile(r"\d.*(am|pm|z|utc|[+-]\d{2}:?\d{2})", re.IGNORECASE)
_EXPECTED = "expected seconds from the beginning of the clip (12.5), mm:ss or hh:mm:ss"


def seconds_of(text: str) -> float:
    """Seconds, given as such or as mm:ss or hh:mm:ss. Raises ValueError that says what the text is instead."""
    if _NUMBER.fullmatch(text):
        return round(float(text), DIGITS)
    if colons := _COLONS.fullmatch(text):
        hours, minutes, seconds = int(colons[1] or 0), int(colons[2]), float(colons[3].replace(",", "."))
        if seconds >= 60 or (colons[1] and minutes >= 60):
            raise ValueError("is no time: minutes and seconds after a colon go to 59")
        return round(3600 * hours + 60 * minutes + seconds, DIGITS)
    if _DATE.match(text):
        raise ValueError(f"is a date; {_EXPECTED}")
    if _TIME_OF_DAY.fullmatch(text):
        raise ValueError(f"is a time of day; {_EXPECTED}")
    raise ValueError(f"is no time; {_EXPECTED}")
