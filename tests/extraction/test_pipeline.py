"""What goes through the pipeline comes out at the cache in order, and what cannot be stored fails alone."""

import time

import numpy as np
import pytest

from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.load import Weights, find_weights
from facedep_jax.cache.cache_reader import open_cache
from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.errors import EngineError
from facedep_jax.extraction.outcomes import Waits
from facedep_jax.extraction.pipeline import Abandon, Begin, End, Pipeline
from facedep_jax.media import Face, Frame

TAPS = parse_taps("resnet50:mid@1")
SIZES = {"resnet50": 32}
FLAT = np.full((32, 32, 3), (124, 117, 104), np.uint8)  # about what ResNet50 subtracts: features near 0
NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
SPEC = {
    "features": {"taps": ["resnet50:mid@1"], "channels": {"resnet50:mid@1": 1024}, "size": SIZES, "weights": {}},
    "input": {},
}


@pytest.fixture(scope="module")
def loud():
    """A real engine on weights with a loud first layer: noise gives features above 65504, a flat picture does not."""
    drawn = find_weights("random:0", ["resnet50"])["resnet50"]
    kernel, bias = drawn.params["stem"]
    params = dict(drawn.params) | {"stem": (kernel * np.float32(1e5), bias)}
    return load_engine(
        "xla", {"resnet50": Weights("resnet50", "keras", "0" * 64, None, params)}, TAPS, SIZES, "float32", 2
    )


def frame(pixels: np.ndarray | None, moment: float = 0.0) -> Frame:
    face = Face("none") if pixels is None else Face("whole")
    return Frame(moment, face, {} if pixels is None else {32: pixels})


def run(tmp_path, engine, items: dict[str, list[np.ndarray | None]]) -> tuple[list[tuple[str, str]], Pipeline]:
    """Items by id (one letter, repeated); several frames make a clip."""
    refused = []
    with CacheWriter(tmp_path / "cache", SPEC, engine) as writer:
        pipeline = Pipeline(
            writer, engine, SIZES, 2, lambda item, error: refused.append((item[0], error.reason)), Waits()
        )
        try:
            for name, frames in items.items():
                pipeline.add(name * 64, Begin("image" if len(frames) == 1 else "clip"))
                for number, pixels in enumerate(frames):
                    pipeline.add(name * 64, frame(pixels, number / 4))
                pipeline.add(name * 64, End(32, 32))
            pipeline.finish()
        finally:
            pipeline.close()
    return refused, pipeline


def test_an_item_that_float16_cannot_hold_fails_alone(tmp_path, loud):
    items = {"a": [FLAT], "b": [NOISE], "c": [None], "d": [FLAT, NOISE, FLAT], "e": [FLAT, None, FLAT], "f": [FLAT]}
    refused, _ = run(tmp_path, loud, items)
    assert [name for name, _ in refused] == ["b", "d"]
    assert all("float16 cannot hold" in reason for _, reason in refused)
    cache = open_cache(tmp_path / "cache")
    assert [item[0] for item in cache.items.id] == ["a", "c", "e", "f"]
    assert list(cache.items.rows) == [1, 1, 3, 1]
    assert list(cache.rows.feature >= 0) == [True, False, True, False, True, True]
    assert verify_cache(tmp_path / "cache")["ok"]
    one = loud({"resnet50": FLAT[None]})["resnet50:mid@1"][0]
    for row in cache.features("resnet50:mid@1", cache.rows.feature[cache.rows.feature >= 0]):
        np.testing.assert_array_equal(row, one)


def test_items_at_once_come_out_as_one_after_the_other(tmp_path, loud):
    """Rows of three clips in turns, of which one is refused and one given up on the way."""
    clips = {"a": [FLAT, None, FLAT, FLAT], "b": [FLAT, NOISE, FLAT, FLAT], "c": [FLAT, FLAT], "d": [None, FLAT]}
    refused = []
    with CacheWriter(tmp_path / "cache", SPEC, loud, shard_rows=3) as writer:
        pipeline = Pipeline(writer, loud, SIZES, 2, lambda item, error: refused.append(item[0]), Waits())
        for name in clips:
            pipeline.add(name * 64, Begin("clip"))
        for number in range(4):
            for name, frames in clips.items():
                if number < len(frames):
                    pipeline.add(name * 64, frame(frames[number], number / 4))
                elif number == len(frames):
                    pipeline.add(name * 64, Abandon() if name == "c" else End(32, 32, 0.5))
        for name in ("b", "a"):
            pipeline.add(name * 64, End(32, 32, 1.0))
        pipeline.finish()
        pipeline.close()
    assert refused == ["b"]
    run(tmp_path / "alone", loud, {name: clips[name] for name in ("a", "d")})
    cache, alone = open_cache(tmp_path / "cache"), open_cache(tmp_path / "alone" / "cache")
    assert len(cache.shards) > 2 and verify_cache(tmp_path / "cache")["ok"]
    assert [item[0] for item in cache.items.id] == ["a", "d"] and cache.items.duration.tolist() == [1.0, 0.5]
    for name in ("item", "time", "face"):
        assert getattr(cache.rows, name).tolist() == getattr(alone.rows, name).tolist()
    for one, other in zip(
        *(c.features("resnet50:mid@1", c.rows.feature[c.rows.feature >= 0]) for c in (cache, alone)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_weights_that_fit_nothing_are_an_error_at_the_first_batch(tmp_path, loud):
    with pytest.raises(EngineError, match="not finite in float16"):
        run(tmp_path, loud, {"a": [NOISE], "b": [NOISE], "c": [FLAT]})


def test_the_stage_that_is_slow_is_the_one_waited_for(tmp_path, loud):
    _, pipeline = run(tmp_path, loud, {"a": [FLAT], "b": [FLAT], "c": [FLAT]})
    assert pipeline.waits.seconds["engine"] > 0 and pipeline.waits.seconds["write"] > 0
    waits = Waits()
    assert waits.longest == ""
    with waits.on("decode"):
        time.sleep(0.01)
    assert waits.longest == "decode" and waits.seconds["decode"] >= 0.01
