"""A source that is retired lists nothing, its features stay, and what other sources say is as before."""

import pytest
from click.testing import CliRunner
from support.caches import ENGINE, identity, values
from support.hostile_h5 import SPEC

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.maintenance.forget import forget_source
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.cli import main
from facedep_jax.errors import CacheError

ROOT, HIGH = "/data/faces", "/data"  # the second is one level too high


def write(folder, source, numbers):
    with CacheWriter(folder, SPEC, ENGINE) as writer:
        for number in numbers:
            item = identity(number)
            if item not in writer.complete:
                writer.begin_item(item, "image")
                writer.add_row(0.0, 0, (float("nan"),) * 4, float("nan"), values(number, 0))
                writer.end_item(30, 40)
            writer.add_listing({"item": item, "source": source, "path": f"\udcff{number}.jpg", "emotion": "sad"})
    return folder


@pytest.fixture
def cache(tmp_path):
    write(tmp_path / "c", HIGH, range(5))
    return write(tmp_path / "c", ROOT, range(2, 6))


def test_only_its_listings_go(cache):
    before = open_cache(cache)
    summary = forget_source(cache, HIGH)
    assert summary == {"cache": str(cache), "source": HIGH, "listings": 5, "items": 2, "sources": {ROOT: 4}}
    after = open_cache(cache)
    assert after.listings["source"].unique().to_list() == [ROOT]
    assert sorted(after.items.id.tolist()) == sorted(before.items.id.tolist())
    assert verify_cache(cache)["problems"] == []
    write(cache, HIGH, range(5))  # extracted again, it is listed again
    assert len(open_cache(cache).listings) == 9


def test_a_source_that_is_not_there_is_named_with_those_that_are(cache):
    with pytest.raises(CacheError, match=r"of the source /nowhere; its sources are: /data \(5\); /data/faces \(4\)"):
        forget_source(cache, "/nowhere")
    told = CliRunner().invoke(main, ["cache", "forget", str(cache), ROOT])
    assert told.exit_code == 0
    assert "4 listings of /data/faces retired; 1 item of theirs is listed by no other source" in " ".join(
        told.stdout.split()
    )
    assert "/data: 5 listed" in told.stdout
