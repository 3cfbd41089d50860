"""`cache …` gives what the library gives; and every cache that cannot be used gets its sentence and stays as it is."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from support.caches import ENGINE, add_image, fill_with_people, flip, identity, make, shards, tree
from support.hostile_h5 import SPEC
from support.paths import ROOT

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.cli import main
from facedep_jax.text_escaping import plot_name


def cli(*arguments, code=0, columns=80):
    result = CliRunner().invoke(main, ["cache", *map(str, arguments)], env={"COLUMNS": str(columns)})
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def summary(*arguments, code=0):
    return json.loads(cli(*arguments, "--json", code=code).stdout)


@pytest.fixture
def cache(tmp_path):
    return fill_with_people(tmp_path / "c")


def test_verify_a_sample(cache):
    assert (
        summary("verify", cache, "--sample", "40%", "--seed", "3")
        == summary("verify", cache, "--sample", "0.4", "--seed", "3")
        == verify_cache(cache, sample=0.4, seed=3)
    )
    assert "2 read in full, seed 3" in cli("verify", cache, "--sample", "40%", "--seed", "3").stdout
    for wrong in ("0", "101%", "few"):
        assert "no part of the shards" in cli("verify", cache, "--sample", wrong, code=2).output


def test_inspect_draws_what_it_says(cache, tmp_path):
    assert summary("inspect", cache, "--plot", tmp_path / "p.png")["items"] == 13
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    said = cli("inspect", cache).stdout
    assert "2, 0 of them in several splits" in said and "subjects, 2 of 2" in said and "ann" in said
    assert "\\n" not in said  # a line's end is no text
    for kind, how in open_cache(cache).spec["input"].items():
        for name, value in how.items():  # all of it, but for hashes
            assert name.endswith("sha256") or f"{name} {value}" in said, (kind, name)
    absent = tmp_path / "absent" / "p.png"
    assert f"{absent} cannot be written" in cli("inspect", cache, "--plot", absent, code=1, columns=400).output


def test_repair_says_what_to_extract_again(cache):
    assert "nothing to repair, 13 items are whole" in cli("repair", cache).stdout
    flip(shards(cache)[0])
    said = cli("repair", cache, code=3, columns=400).stdout
    assert "items are lost; extract-features on their source adds them again" in said and "/s: 0.jpg" in said
    assert "→ dropped/" in said
    assert summary("verify", cache)["ok"]


def test_merge_tells_of_conflicts(cache, tmp_path):
    other = make(tmp_path / "other", range(1, 3), emotion="happy")
    said = cli("merge", cache, other, "--out", tmp_path / "m", code=3).stdout
    assert "13 items" in said and "2 listings say different things: the last is in force" in said
    assert set(open_cache(tmp_path / "m").items.id) == set(open_cache(cache).items.id)
    assert summary("merge", other, "--out", tmp_path / "copy")["items"] == 2
    assert diff_caches(other, tmp_path / "copy")["equal"]


def test_export(cache, tmp_path):
    said = cli("export", cache, "--out", tmp_path / "e.h5").stdout
    assert "13 items, 19 rows" in said and (tmp_path / "e.listings.csv").is_file()
    assert "is there already" in cli("export", cache, "--out", tmp_path / "e.h5", code=1).output


def table(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_purge_names_runs_scores_and_caches_and_alters_none(cache, tmp_path):
    away = tmp_path / "away"
    shutil.copytree(cache, away / "cache")
    table(
        away / "run" / "predictions.csv", f"item,path,subject,split\n{identity(5)},x,,train\n{identity(2)},y,bob,test\n"
    )
    (away / "run" / "head.safetensors").write_bytes(b"")
    table(away / "tested" / "predictions.csv", "item,path,subject,split\n1,z,ann,test\n")
    (away / "tested" / "head.safetensors").write_bytes(b"")
    table(away / "others" / "predictions.csv", f"item,path,subject,split\n{identity(2)},y,bob,train\n")
    table(away / "scores" / "clips.csv", "clip,status\n100.jpg,scored\n")
    table(away / "scores" / "frames.csv", "clip,time_s\n100.jpg,0\n100.jpg,1\n")
    (away / "scores" / "plots").mkdir()
    (away / "scores" / "plots" / plot_name("100.jpg")).write_bytes(b"")
    before = tree(away)
    planned = summary("purge", cache, "--subject", "ann", "--also", away, "--dry-run")
    said = cli("purge", cache, "--subject", "ann", "--also", away, columns=400).stdout
    assert tree(away) == before
    found = {(t["kind"], os.path.relpath(t["path"], away)) for t in planned["traces"]}
    assert found == {
        ("cache", "cache"),
        ("run", "run/predictions.csv"),
        ("head", "run/head.safetensors"),
        ("run", "tested/predictions.csv"),
        ("scores", "scores/clips.csv"),
        ("scores", "scores/frames.csv"),
        ("plot", f"scores/plots/{plot_name('100.jpg')}"),
    }
    assert "4 items with 10 rows are gone" in said and "train again without" in said
    assert "has the subject 'ann'" in cli("purge", cache, "--subject", "ann", code=1).output
    assert "nobody is named" in cli("purge", cache, code=2).output
    assert "is no folder" in cli("purge", cache, "--subject", "bob", "--also", tmp_path / "absent", code=1).output
    assert summary("verify", cache)["ok"]


def newer(cache):
    header = json.loads((cache / "cache.json").read_text())
    (cache / "cache.json").write_text(json.dumps(header | {"format": 3}))


def another(cache):
    header = json.loads((cache / "cache.json").read_text())
    header["spec"]["features"]["color"] = "grey"
    (cache / "cache.json").write_text(json.dumps(header))


def foreign(cache):
    spec = json.loads(json.dumps(SPEC))
    spec["features"]["color"] = "grey"
    with CacheWriter(cache.parent / "grey", spec, ENGINE) as writer:
        add_image(writer, 50)
    shutil.move(shards(cache.parent / "grey")[0], cache / "shards")
    shutil.rmtree(cache.parent / "grey")


def a_file(cache):
    shutil.rmtree(cache)
    cache.write_text("x")


COMMANDS = {
    "inspect": ["inspect", "C"],
    "verify": ["verify", "C"],
    "diff": ["diff", "C", "OTHER"],
    "repair": ["repair", "C"],
    "merge": ["merge", "OTHER", "C", "--out", "NEW"],
    "merge into": ["merge", "OTHER", "--out", "C"],
    "export": ["export", "C", "--out", "NEW.h5"],
    "purge": ["purge", "C", "--subject", "ann"],
}
WRONG = {
    "newer": (newer, "has format version 3, this program reads 1 and 2; update facedep-jax", {}),
    "another's fingerprint": (another, "its spec does not have the fingerprint it states", {}),
    "a file": (a_file, "is a file; a cache is a directory", {}),
    "without a shard": (
        lambda c: shards(c)[1].unlink(),
        "1 of 4 shards named in its manifest are gone",
        {"verify": 3, "repair": 3},
    ),
    "a foreign shard": (foreign, "belongs to another cache", {"verify": 3, "repair": 3}),
    "without manifest": (lambda c: (c / "manifest.jsonl").unlink(), "it is read from the shards", {}),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_gets_its_sentence_and_stays_as_it_is(cache, tmp_path, command, wrong):
    make(tmp_path / "other", [60])
    damage, sentence, different = WRONG[wrong]
    damage(cache)
    names = {"C": cache, "OTHER": tmp_path / "other", "NEW": tmp_path / "new", "NEW.h5": tmp_path / "new.h5"}
    before = tree(tmp_path)
    different = {"diff": 3, "verify": 3, "repair": 3} if wrong == "without manifest" else different
    code = different.get(command, 0 if wrong == "without manifest" else 1)
    result = cli(*(names.get(a, a) for a in COMMANDS[command]), code=code, columns=1000)
    if code == 1:
        assert sentence in result.output
    if code == 1 or command in ("inspect", "verify", "diff"):
        assert tree(tmp_path) == before
    if code == 3 and command == "repair":
        assert verify_cache(cache)["ok"]


READ_ONLY = """
import sys
from click.testing import CliRunner
from facedep_jax.cli import main
for line in sys.argv[2:]:
    result = CliRunner().invoke(main, ["cache", *line.split()])
    print(result.exit_code, result.output.replace("\\n", " "))
"""


def test_a_read_only_disk(cache, tmp_path):
    """Mounted so in a name space of its own, where root may not write either."""
    other, out = make(tmp_path / "other", [60]), tmp_path / "out"
    lines = [
        f"repair {cache}",
        f"purge {cache} --subject ann",
        f"merge {other} --out {cache}",
        f"purge {cache} --subject ann --dry-run",
        f"verify {cache}",
        f"export {cache} --out {out}.h5",
        f"merge {cache} --out {out}",
        f"export {cache} --out {cache}/e.h5",
    ]
    mount = f'mount --bind {cache} {cache} && mount -o remount,ro,bind {cache} && exec "$@"'
    run = ["unshare", "-rm", "sh", "-c", mount, "sh", sys.executable, "-c", READ_ONLY, "", *lines]
    before = tree(cache)
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no name space to mount in: {done.stderr.strip()[:100]}")
    said = done.stdout.splitlines()
    assert [line[0] for line in said] == ["1", "1", "1", "0", "0", "0", "0", "1"], done.stdout
    for line in (*said[:3], said[7]):
        assert "cannot be written (Read-only file system)" in line
    assert tree(cache) == before
    assert verify_cache(out)["ok"]


def test_help_names_all_commands():
    said = cli("--help").output
    for name in ("inspect", "verify", "repair", "diff", "merge", "export", "purge"):
        assert f"\n  {name} " in said
