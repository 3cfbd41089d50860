"""Work that is done by another thread before its results are wanted. It knows nothing of what the work is."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

AHEAD = 3  # results on their way: the last ones of an epoch, to look at validation, are small


def ahead(works: Iterable[Callable[[], Any]], most: int = AHEAD) -> Generator[Any]:
    """The results of `works` in their order, up to `most` of them being made or waiting while one is used."""
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(1) as thread:
        for work in works:
            waiting.append(thread.submit(work))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
