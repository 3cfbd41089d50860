"""Sentences of the library, which name settings as the command line does, in the words of Python."""

import re

_FLAG = re.compile(r"(?<![\w/.\-])--(no-)?([a-z][a-z0-9-]*)")
RENAMED = {"head": "run", "column": "columns", "group": "groups", "positive-label": "positive"}


def in_arguments(text: str) -> str:
    """`--detector-model` → `detector_model`, `--no-align` → `align=False`, `--head` → `run`; paths stay as they are."""
    return _FLAG.sub(lambda flag: _argument(flag[2]) + ("=False" if flag[1] else ""), text)


def _argument(option: str) -> str:
    return RENAMED.get(option, option.replace("-", "_"))
