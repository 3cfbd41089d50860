"""Studies of corpora that hand out measurements of faces, made small after their published descriptions."""

import json

import numpy as np
import pytest
from support.made_corpora import make

from facedep_jax import open_cache
from facedep_jax.cli import main
from facedep_jax.descriptors.measured_statistics import measured_names
from facedep_jax.feature_import.import_features import import_features
from facedep_jax.feature_import.settings import ImportSettings

TABLES = {  # of each corpus, and what its partitions leave to be judged of the persons that are stated
    "daic": (["train_split_Depression_AVEC2017.csv", "dev_split_Depression_AVEC2017.csv", "full_test_split.csv"], 6, 6),
    "edaic": (["labels/train_split.csv", "labels/dev_split.csv", "labels/test_split.csv"], 6, 6),
    "dvlog": (["labels.csv"], 8, 6),
}


def imported(name, folder):
    source = folder / name
    source.mkdir()
    _, options = make(name, source)
    import_features(source, folder / f"{name}-cache", ImportSettings(options[1], options[3]))
    return source, folder / f"{name}-cache"


def study(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, ("study", *arguments)), "--json", "--permutations", "19"])
    out, said = capsys.readouterr()
    assert ended.value.code == 0, said
    return json.loads(out)


@pytest.mark.parametrize("name", ["daic", pytest.param("edaic", marks=pytest.mark.exhaustive), "dvlog"])
def test_a_corpus_is_learned_from_and_judged_by_its_own_partitions(name, tmp_path, capsys):
    source, cache = imported(name, tmp_path)
    tables, train, held = TABLES[name]
    further = [option for path in tables[1:] for option in ("--table", source / path)]
    found = study(capsys, source / tables[0], cache, *further, "--out", tmp_path / "study")
    assert f"classes: learned from {train} persons of train, {held} of dev or test judged" in found["protocol"]
    models = found["classes"]["models"]
    assert {"dummy", "confounds", "descriptors", "attention"} == set(models)
    assert models["descriptors"]["n"] == models["attention"]["n"] == held
    assert any("learned from their features" in text for text in found["notes"])
    if name != "dvlog":
        assert found["scores"]["models"]["descriptors"]["n"] == held
    shown = {row["name"] for row in found["carriers"]["classes"]}
    assert shown <= {*measured_names(open_cache(cache)), "move_mean", "move_q90"} and len(shown) > 10


def test_persons_of_a_corpus_without_partitions_are_judged_in_folds(tmp_path, capsys):
    source, cache = imported("lmvd", tmp_path)
    rows = [f"{n:03},{int(n % 2 == 0)}" for n in range(1, 15)]
    (source / "t.csv").write_text("\n".join(["subject,label", *rows]) + "\n")
    found = study(capsys, source / "t.csv", cache, "--out", tmp_path / "study", "--repeats", "2")
    assert found["classes"]["models"]["descriptors"]["auc"] > 0.9  # labels show in how action units move
    assert found["classes"]["models"]["attention"]["n"] == 14


def test_statistics_are_those_of_the_frames_that_show_a_face(tmp_path):
    from facedep_jax.descriptors.measured_statistics import measured_statistics

    _, folder = imported("dvlog", tmp_path)
    cache = open_cache(folder)
    parts = cache.listing_rows.with_columns(
        place=cache.listing_rows["item"].map_elements(cache.items.id.tolist().index, return_dtype=int)
    ).head(3)
    found = measured_statistics(cache, parts)
    for row in range(3):
        item = parts["place"][row]
        first = int(cache.items.first_row[item])
        feature = cache.rows.feature[first : first + int(cache.items.rows[item])]
        values = cache.features(cache.taps[0], feature[feature >= 0])[:, 0, 0].astype(np.float64)
        assert [column[row] for column in found[::2]] == pytest.approx(values.mean(0), abs=1e-9)
        assert [column[row] for column in found[1::2]] == pytest.approx(values.std(0), abs=1e-9)
