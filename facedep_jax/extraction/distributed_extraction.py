"""Stage one in several processes: this one deals out files and keeps the ledgers, others compute and write shards.

A task is some images or one clip; what it leaves are shards named by their content, so doing it twice changes nothing.
Scheduling, and starting killed workers again, is dask.distributed's. Knows nothing of pixels or labels.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.errors import ClusterError, MediaError
from facedep_jax.extraction.dask_worker import Done, WorkerTask, compute_task
from facedep_jax.extraction.decoding_account import account_of_unlisted
from facedep_jax.extraction.local_extraction import ItemResolver
from facedep_jax.extraction.outcomes import Outcome, Outcomes
from facedep_jax.extraction.pending_listings import Pair
from facedep_jax.extraction.plan import ExtractionPlan
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.progress_events import TICK, Failure, Note, Report, Tick
from facedep_jax.sources import Listing, Listings, Source

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

IMAGES_A_TASK = 512  # some seconds of work, and what a killed worker costs at most
DEATHS = 10  # of workers that a task may see before it, and not chance, is taken for the cause
READERS = 8  # threads that hash files
ANSWER_S = 20.0  # within which a scheduler has to answer
SILENCE_S = 60.0  # without a result: then workers are looked for, and none is expected after as long again


class Distribution:
    """Every item of some listings into one writer, computed by workers. The driver alone writes ledgers.

    `engine_name` is that of the workers' engine, "none" where there was nothing to compute.
    """

    def __init__(self, writer: CacheWriter, plan: ExtractionPlan, items: ItemResolver, outcomes: Outcomes):
        self.writer, self.plan, self.items, self.outcomes = writer, plan, items, outcomes
        self.engine_name = "none"

    def run(self, pairs: Sequence[Pair]) -> None:
        """Deal out what the cache lacks, images first; put what comes back into the ledgers as it comes."""
        missing, again = self._sort_out(pairs)
        if missing:
            self.outcomes.progress(missing[0][1], 0)
            tasks = list(self._tasks(missing))
            with _client(self.plan.settings) as client:
                self._announce(client)
                self._collect(client, tasks)
            self.writer.take_over()
        for source, listing, item in again:  # other names of what was computed just now
            self._end(source, listing, item, self.outcomes.failed.get(item))

    # Before

    def _sort_out(self, pairs: Sequence[Pair]) -> tuple[list[Pair], list[tuple[Source, Listing, str]]]:
        """What has to be computed, and listings of the same items. All else is accounted for here."""
        missing: list[Pair] = []
        again: list[tuple[Source, Listing, str]] = []
        begun: set[str] = set()
        with ThreadPoolExecutor(READERS, "hash") as pool:
            for (source, listing), (item, error) in zip(pairs, pool.map(self._item_of, pairs), strict=True):
                if item is None or error:
                    self._end(source, listing, item, error)
                elif self.items.is_purged(item):
                    self.outcomes.purged.add(item)
                    self.outcomes.progress(listing)
                elif item in self.writer.complete:
                    self._end(source, listing, item)
                elif item in begun:
                    again.append((source, listing, item))
                else:
                    begun.add(item)
                    missing.append((source, listing))
        return missing, again

    def _item_of(self, pair: Pair) -> tuple[str | None, MediaError | None]:
        """The item, None where it could not be read, and why it has no result, as far as that is known."""
        try:
            item = self.items.of(pair[1])
        except MediaError as error:
            return None, error
        return item, None if item in self.writer.complete else self.outcomes.failure_of(item)

    def _end(self, source: Source, listing: Listing, item: str | None, failure: MediaError | None = None) -> None:
        """Account for a listing that no worker need see: of an item that is there, or that has failed."""
        if failure:
            self.outcomes.fail(source.where, listing, item, failure)
        else:
            said = account_of_unlisted(self.writer, self.plan, listing, item) if item else {}
            self.outcomes.add(Outcome(source.where, listing, item, account=said))
        self.outcomes.progress(listing)

    def _tasks(self, missing: Sequence[Pair]) -> Iterator[WorkerTask]:
        """Images of one source in runs, every clip alone."""
        size = min(self.plan.settings.shard_rows, IMAGES_A_TASK)
        for source in dict.fromkeys(source.where for source, _ in missing):
            own = [pair for pair in missing if pair[0].where == source]
            images = [listing for _, listing in own if listing.kind == "image"]
            clips = [listing for _, listing in own if listing.kind == "clip"]
            chunks = [images[start : start + size] for start in range(0, len(images), size)]
            for listings in [*chunks, *([clip] for clip in clips)]:
                yield self._task(replace(own[0][0], listings=Listings.of(listings), whole=False))

    def _task(self, source: Source) -> WorkerTask:
        return WorkerTask(
            source,
            replace(self.plan.settings, workers=None, scheduler=None, insecure=False, limit=None),
            tuple(self.plan.faces),
            self.writer.spec,
            self.plan.spec,
            self.writer.shards.resolve(),
            dict(self.writer.partial) if source.listings[0].kind == "clip" else {},
            self.plan.settings.workers or 0,
        )

    # Meanwhile

    def _announce(self, client: "Client") -> None:
        count = len(client.scheduler_info(n_workers=-1)["workers"])
        where = "on this machine" if self.plan.settings.workers else f"of {self.plan.settings.scheduler}"
        self.outcomes.report(Note(f"{count} workers {where}"))

    def _collect(self, client: "Client", tasks: list[WorkerTask]) -> None:
        from distributed import KilledWorker

        futures = [client.submit(compute_task, task, pure=False, retries=0) for task in tasks]
        listings = {future.key: task.source.listings for future, task in zip(futures, tasks, strict=True)}
        try:
            pending = set(futures)
            while pending:
                with self.outcomes.waits.on("engine"):
                    future = _first_done(client, pending, self.outcomes.report)
                pending.discard(future)
                done = future.result()
                with self.outcomes.waits.on("write"):
                    self._take(done)
                self.outcomes.progress(listings[future.key][-1], len(listings.pop(future.key)))
        except KilledWorker as error:
            names = ", ".join(listing.path for listing in listings[future.key][:3])
            raise ClusterError(
                f"workers died {DEATHS} times over the same files ({names}, …): {error}. What was committed is safe; "
                "give the workers more memory, or leave those files out"
            ) from error
        finally:
            client.cancel(futures)

    def _take(self, done: Done) -> None:
        """Account for a task. Its shards are in place; from here on they are named."""
        self.engine_name = done.engine
        for note in done.notes:
            self.outcomes.report(note)
        self.writer.adopt(done.lines, done.features)
        for outcome in done.outcomes:
            self.outcomes.add(outcome)
            if failure := outcome.failure:
                self.outcomes.report(Failure(str(outcome.listing.file), failure.stage, failure.reason))
        self.writer.commit()


def _first_done(client: "Client", pending: set["Future"], report: Report) -> "Future":
    """A task that is done. Raises ClusterError where there has been no worker for SILENCE_S seconds to do one."""
    from distributed import wait

    begun, looks = time.monotonic(), 0  # at which there was no worker
    while looks < 2:
        try:
            return next(iter(wait(pending, timeout=TICK, return_when="FIRST_COMPLETED").done))
        except TimeoutError:
            report(Tick())
        if time.monotonic() - begun >= SILENCE_S:  # a long clip takes its time, as long as there are workers
            looks = 0 if client.scheduler_info(n_workers=-1)["workers"] else looks + 1
            begun = time.monotonic()
    raise ClusterError(
        f"no worker is left and {len(pending)} tasks are: start workers, and run the same command again; what was "
        "committed is safe"
    )


@contextmanager
def _client(settings: ExtractSettings) -> Iterator["Client"]:
    """A dask client: of a cluster of `settings.workers` processes that lives as long as the block, or of a running one.

    Raises ClusterError, naming the extra to install, without dask, and for a scheduler that does not answer.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ClusterError(f"several workers need dask: {error}; pip install 'facedep-jax[cluster]'") from error
    with dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}):
        if settings.scheduler:
            with _scheduler(Client, settings.scheduler) as client:
                yield client
            return
        with _local_cluster(LocalCluster, settings.workers or 0) as cluster, Client(cluster) as client:
            yield client


@contextmanager
def _local_cluster(kind: type["LocalCluster"], workers: int) -> Iterator["LocalCluster"]:
    """So many processes of this machine. Raises ClusterError where they do not start."""
    with TemporaryDirectory(prefix="facedep-dask-", ignore_cleanup_errors=True) as folder:  # nothing of ours is in it
        try:
            cluster = kind(
                n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1",
                dashboard_address=None, local_directory=folder, silence_logs=logging.CRITICAL, memory_limit=0,
            )  # fmt: skip
        except RuntimeError as error:
            raise ClusterError(
                f"workers could not be started ({error}: {error.__cause__}); a script has to start them under "
                '`if __name__ == "__main__":`'
            ) from error
        with cluster:
            yield cluster


def _scheduler(client: type["Client"], where: str) -> "Client":
    """A client of the scheduler at an address or described by a file; TLS is set in dask's own configuration."""
    file = Path(where)
    how = {"scheduler_file": where} if file.is_file() else {"address": where}
    try:
        found = client(**how, timeout=ANSWER_S)
        found.wait_for_workers(1, timeout=60)
    except (OSError, ValueError, TypeError) as error:  # a time-out is an OSError
        why = " ".join(str(error).split()) or "it does not answer"
        raise ClusterError(
            f"no scheduler with workers at {where} ({why}); start them first (docs/cluster.md)"
        ) from error
    return found
