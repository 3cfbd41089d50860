"""The HDF5 format of features. Knows nothing of what labels mean; it keeps what the source said."""

from facedep_jax.cache.cache_reader import Cache, open_cache
from facedep_jax.cache.cache_writer import CacheWriter

__all__ = ["Cache", "CacheWriter", "open_cache"]
