"""Features of clips that stay in their caches until rows of them are asked for. It knows no labels and no models."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.cache import Cache
from facedep_jax.cache.feature_reader import read_rows


@dataclass(frozen=True)
class Stored:
    """One tap of n clips of up to t frames, to be indexed along these two axes like an array (n, t, S, S, C).

    `rows` are feature rows of the clip's own cache, `owner` says which that is, −1 is no frame: zeros are there.
    Indexing reads, and raises what `Cache.features` raises; `take` does not.
    """

    caches: tuple[Cache, ...]
    owner: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, "n t"]
    tap: str

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(n, t, S, S, C)."""
        return (*self.rows.shape, *self.caches[0].shape(self.tap))

    @property
    def dtype(self) -> np.dtype:
        """What the caches keep features as."""
        return self.caches[0].dtype

    @property
    def nbytes(self) -> int:
        """Of all of it, were it read."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Float[np.ndarray, "..."]:
        rows = self.rows[index]
        out = np.zeros((*rows.shape, *self.shape[2:]), self.dtype)
        owner = np.broadcast_to(self.owner[:, None], self.rows.shape)[index]
        self._read(rows.reshape(-1), owner.reshape(-1), np.arange(rows.size), out.reshape(-1, *self.shape[2:]))
        return out

    def read(
        self, clips: Int[np.ndarray, " k"], places: Int[np.ndarray, " k"], out: Float[np.ndarray, "m t S S C"]
    ) -> None:
        """Put clips at places of `out`; what has no frame is left as it is."""
        frames = self.rows.shape[1]
        into = (places[:, None] * frames + np.arange(frames)).reshape(-1)
        self._read(
            self.rows[clips].reshape(-1), np.repeat(self.owner[clips], frames), into, out.reshape(-1, *out.shape[2:])
        )

    def _read(
        self,
        rows: Int[np.ndarray, " k"],
        owner: Int[np.ndarray, " k"],
        places: Int[np.ndarray, " k"],
        out: Float[np.ndarray, "m S S C"],
    ) -> None:
        for number, cache in enumerate(self.caches):
            there = np.flatnonzero((rows >= 0) & (owner == number))
            read_rows(cache.shards, cache.starts, self.tap, rows[there], places[there], out)

    def take(self, clips: Int[np.ndarray, " k"] | Bool[np.ndarray, " n"] | slice) -> "Stored":
        """Some of the clips, not read yet."""
        return Stored(self.caches, self.owner[clips], self.rows[clips], self.tap)


Features = Float[np.ndarray, "n t S S C"] | Stored
