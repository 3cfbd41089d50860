"""facedep-jax: features of faces, once; heads trained on them, often; scores of a proxy, never a diagnosis."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "open_cache"]


def __getattr__(name: str) -> Any:
    """Load `open_cache` on first use, so that importing the package stays light."""
    if name == "open_cache":
        from facedep_jax.cache import open_cache

        return open_cache
    raise AttributeError(f"module 'facedep_jax' has no attribute {name!r}")
