"""facedep-jax: features of faces, once; heads trained on them, often; scores of a proxy, never a diagnosis."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facedep_jax.api.behaviour import describe
    from facedep_jax.api.evaluation import evaluate
    from facedep_jax.api.extraction import extract
    from facedep_jax.api.persons import study_persons
    from facedep_jax.api.runs import load_run
    from facedep_jax.api.training import train
    from facedep_jax.cache import open_cache

__version__ = "0.1.0"
__all__ = ["__version__", "describe", "evaluate", "extract", "load_run", "open_cache", "study_persons", "train"]

_PLACES = {
    "describe": "facedep_jax.api.behaviour",
    "evaluate": "facedep_jax.api.evaluation",
    "extract": "facedep_jax.api.extraction",
    "load_run": "facedep_jax.api.runs",
    "open_cache": "facedep_jax.cache",
    "study_persons": "facedep_jax.api.persons",
    "train": "facedep_jax.api.training",
}


def __getattr__(name: str) -> Any:
    """Load a function on first use, so that importing the package stays light."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'facedep_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
