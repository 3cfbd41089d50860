"""Commands as they show themselves on a terminal of any width, without one."""

import re


def terminal(columns):
    """The environment of a terminal without colours."""
    return {"COLUMNS": str(columns), "TTY_COMPATIBLE": "1", "NO_COLOR": "1"}


def on_screen(text):
    """What is to be read, without what moves the cursor or makes letters bold."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text)
