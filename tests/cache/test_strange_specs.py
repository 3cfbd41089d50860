"""Specs that a stranger has altered, with the fingerprint they ought to have: they work, or a sentence refuses them."""

import copy
import json
from itertools import product

import pytest
from support.planted import planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.cache.feature_spec import fingerprint
from facedep_jax.cache.maintenance import sandboxed_reader
from facedep_jax.cli import main

VALUES = (None, "gone", 3, -1, 0.5, "x", "../x", [], ["x"], {}, {"x": 3}, True)


def places(value, place=()):
    """Where something is said in a spec, at any depth."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*place, key)
        yield from places(value[key], (*place, key))


def altered(spec, place, value):
    """The spec with another value there, or without it."""
    found = copy.deepcopy(spec)
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    if value == "gone":
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return found


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A cache that is altered, the same without a shard, of which nothing but the spec is known, and a third."""
    folder = tmp_path_factory.mktemp("specs")
    for name in ("full", "empty", "other"):
        write_cache(folder / name, planted_examples(24))
    for shard in (folder / "empty" / "shards").iterdir():
        shard.unlink()
    for name in ("manifest.jsonl", "listings.jsonl"):
        (folder / "empty" / name).write_text("")
    return folder


def commands(folder, name, number):
    cache, out = str(folder / name), folder / f"{name}{number}"
    yield "cache", "export", cache, "--out", f"{out}.npz"
    yield "cache", "diff", cache, str(folder / "other")
    yield "cache", "merge", cache, str(folder / "other"), "--out", f"{out}-merged"
    yield "cache", "inspect", cache
    yield "describe", cache, "--out", f"{out}.csv"


def direct(task, folder, report, **options):
    """What the child does, here, where nothing it did not foresee is caught."""
    return sandboxed_reader._tasks()[task](folder, report, **options)


@pytest.mark.parametrize("name", ["full", "empty"])
def test_any_value_anywhere_in_a_spec_works_or_is_refused(good, name, capsys, monkeypatch):
    monkeypatch.setattr(sandboxed_reader, "in_child", direct)
    header = good / name / "cache.json"
    text = header.read_text()
    spec, refused = json.loads(text)["spec"], 0
    for number, (place, value) in enumerate(product(places(spec), VALUES)):
        strange = altered(spec, place, value)
        stated = {"format": 1, "fingerprint": fingerprint(strange), "spec": strange}
        header.write_text(json.dumps(stated, indent=2) + "\n")
        for arguments in commands(good, name, number):
            with pytest.raises(SystemExit) as ended:
                main(arguments)
            said = capsys.readouterr().err
            where = f"{place} = {value!r}: {' '.join(arguments[:2])} ended with {ended.value.code}: {said[-1500:]}"
            assert ended.value.code in (0, 1, 2, 3) and "Traceback" not in said, where
            refused += ended.value.code != 0
    header.write_text(text)
    assert open_cache(good / name).spec == spec
    assert refused > 300
