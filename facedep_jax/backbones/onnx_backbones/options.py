"""`--backbone NAME=FILE.onnx[:OUTPUT]` and `--backbone-input NAME=KEY:VALUE,…` as what they ask for. Opens no file."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facedep_jax.backbones.taps import BACKBONES, MAX_SIZE
from facedep_jax.errors import SettingsError

FORM = "NAME=FILE.onnx[:OUTPUT]"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")  # part of a tap's name; exports put a dot behind it
_FILE = re.compile(r"(.+?\.onnx)(?::(.+))?", re.IGNORECASE | re.DOTALL)
_COUNT = re.compile(r"\d{1,4}")
KEYS = ("size", "mean", "std", "order", "range", "layout", "tokens")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as torchvision's and timm's presets


@dataclass(frozen=True)
class BackboneInput:
    """How crops enter a network and tokens leave it: (pixel · range / 255 − mean) / std, channels in `order`.

    `mean` and `std` are in that order too. None: the file has to say it. `tokens`: how many of them are no places of
    the picture, or "class": the first of them alone is kept.
    """

    size: int | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    order: str = "rgb"
    range: float = 1.0
    layout: str | None = None
    tokens: int | str | None = None
    stated: frozenset[str] = frozenset()  # which of these were given, and are no defaults

    def as_text(self) -> str:
        """As `--backbone-input` takes it, all but what is None."""
        values = {key: getattr(self, key) for key in KEYS}
        said = {k: "/".join(map(repr, v)) if isinstance(v, tuple) else v for k, v in values.items() if v is not None}
        return ",".join(f"{key}:{value}" for key, value in said.items())


@dataclass(frozen=True)
class AskedBackbone:
    """One `--backbone`, and what `--backbone-input` says of it."""

    name: str
    file: Path
    output: str | None
    input: BackboneInput = BackboneInput()


def parse_backbones(texts: Iterable[str], inputs: Iterable[str]) -> tuple[AskedBackbone, ...]:
    """What both options ask for. Raises SettingsError for what cannot be meant."""
    asked: dict[str, AskedBackbone] = {}
    for text in texts:
        one = _parse_backbone(text)
        if one.name in asked:
            raise SettingsError(f"--backbone {one.name} is given twice; two outputs of a file need two names")
        asked[one.name] = one
    said: set[str] = set()
    for text in inputs:
        name, _, values = text.partition("=")
        if name not in asked:
            known = f"known: {', '.join(asked)}" if asked else f"give --backbone {FORM} first"
            raise SettingsError(f"--backbone-input {text!r} is of no backbone that was given; {known}")
        if name in said:
            raise SettingsError(f"--backbone-input of {name} is given twice; put all of it into one, with commas")
        said.add(name)
        asked[name] = replace(asked[name], input=_parse_input(name, values))
    return tuple(asked.values())


def _parse_backbone(text: str) -> AskedBackbone:
    name, given, rest = text.partition("=")
    file = _FILE.fullmatch(rest)
    if not given or not file:
        raise SettingsError(f"--backbone is {text!r}, expected {FORM}, a file whose name ends in .onnx")
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"--backbone {name!r} is no name; give letters, digits, _ and -, a letter first, 40 at most"
        )
    if name.lower() in BACKBONES:
        raise SettingsError(f"--backbone {name} has the name of a built-in network; give another name")
    return AskedBackbone(name, Path(file[1]), file[2])


def _parse_input(name: str, text: str) -> BackboneInput:
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = (word.strip() for word in part.partition(":"))
        if key not in KEYS:
            raise SettingsError(f"--backbone-input of {name}: unknown {key!r}; known: {', '.join(KEYS)}")
        if key in values:
            raise SettingsError(f"--backbone-input of {name} gives {key} twice")
        values[key] = _READ[key](f"--backbone-input of {name}: {key} is {value!r}", value)
    if not values:
        raise SettingsError(f"--backbone-input of {name} says nothing; known: {', '.join(KEYS)}")
    return BackboneInput(**values, stated=frozenset(values))


def _size(said: str, value: str) -> int:
    size = int(value) if _COUNT.fullmatch(value) else 0
    if not 1 <= size <= MAX_SIZE:
        raise SettingsError(f"{said}, expected pixels along a side, 1 to {MAX_SIZE}")
    return size


def _channels(said: str, value: str, least: float = -math.inf) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in value.split("/"))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not all(math.isfinite(n) and n > least for n in numbers):
        above = "" if least == -math.inf else f" above {least:g}"
        raise SettingsError(f"{said}, expected one number{above} or one for each channel, such as 0.485/0.456/0.406")
    return numbers * (3 // len(numbers))


def _one_of(said: str, value: str, choices: Sequence[str]) -> str:
    if value.lower() not in choices:
        raise SettingsError(f"{said}, expected {' or '.join(choices)}")
    return value.lower()


def _tokens(said: str, value: str) -> int | str:
    if value == "class":
        return value
    if not _COUNT.fullmatch(value):
        raise SettingsError(f"{said}, expected how many tokens before those of places there are, or class")
    return int(value)


_READ: dict[str, Callable[[str, str], Any]] = {
    "size": _size,
    "mean": _channels,
    "std": lambda said, value: _channels(said, value, 0.0),
    "order": lambda said, value: _one_of(said, value, ("rgb", "bgr")),
    "range": lambda said, value: float(_one_of(said, value.removesuffix(".0"), ("1", "255"))),
    "layout": lambda said, value: _one_of(said, value, ("nchw", "nhwc")),
    "tokens": _tokens,
}
