"""What every public function shares: strings and paths alike, settings by keyword, errors that speak of arguments.

It knows nothing of what a function does.
"""

import dataclasses
import difflib
import functools
import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from facedep_jax.api.listeners import Listener, automatic
from facedep_jax.api.words import in_arguments
from facedep_jax.errors import FacedepError

P = ParamSpec("P")
R = TypeVar("R")
Settings = tuple[type, Sequence[str] | None]  # a dataclass, and which of its fields are arguments, None for all


def public(*settings: Settings, computes: bool = True) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose `**settings` are the fields of the dataclasses in `settings`, as its signature then says.

    Its `report` becomes a listener, see `Listener`; where it `computes`, jax's environment is looked at before. The
    message of a FacedepError names arguments. Raises TypeError for an argument that is not in the signature.
    """

    def wrap(work: Callable[P, R]) -> Callable[P, R]:
        signature = _expanded(inspect.signature(work), settings)

        @functools.wraps(work)
        def call(*given: P.args, **named: P.kwargs) -> R:
            _require_known(work.__qualname__, signature, named)
            keywords: dict[str, Any] = {name: _as_text(name, value, settings) for name, value in named.items()}
            try:
                with Listener(keywords.pop("report", automatic)) as report:
                    if computes:
                        from facedep_jax.jax_environment import prepare_jax

                        prepare_jax(report)
                    return cast(Callable[..., R], work)(*given, **keywords, report=report)
            except FacedepError as error:
                error.args = (in_arguments(str(error)), *error.args[1:])
                raise

        vars(call)["__signature__"] = signature
        return call

    return wrap


def _expanded(signature: inspect.Signature, settings: Sequence[Settings]) -> inspect.Signature:
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    named = {p.name for p in own}
    further = {
        field.name: inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=_default(field), annotation=field.type
        )
        for cls, names in settings
        for field in dataclasses.fields(cls)
        if field.name not in named and (names is None or field.name in names)
    }
    return signature.replace(parameters=[*own, *further.values()])


def _default(field: dataclasses.Field) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _require_known(name: str, signature: inspect.Signature, given: dict[str, Any]) -> None:
    for argument in given:
        if argument not in signature.parameters:
            near = difflib.get_close_matches(argument, signature.parameters, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(signature.parameters)}"
            raise TypeError(f"{name}() has no argument {argument!r}; {hint}")


def _as_text(name: str, value: Any, settings: Sequence[Settings]) -> Any:
    """Settings hold texts, where a user may well have a path."""
    fields = {field.name for cls, _ in settings for field in dataclasses.fields(cls)}
    if name not in fields:
        return value
    if isinstance(value, list | tuple):
        return tuple(_as_text(name, one, settings) for one in value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value
