"""A place for one thing that a thread leaves and another takes: the newest. Knows nothing of what it is."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """What is not taken in time is replaced, so that neither side waits for the other and nothing piles up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: T | None = None
        self._closed = False

    def put(self, value: T) -> None:
        """Leaves `value`, in place of one that nobody took."""
        with self._changed:
            self._held = value
            self._changed.notify()

    def close(self) -> None:
        """Nothing will be put here any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self, timeout: float) -> T | None:
        """The newest value, once; None where there is none within `timeout` seconds or there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._held is not None or self._closed, timeout)
            value, self._held = self._held, None
            return value

    @property
    def over(self) -> bool:
        """Whether everything is taken and nothing will come."""
        with self._changed:
            return self._closed and self._held is None
