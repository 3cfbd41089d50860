"""Settings: what is written is what is read, and what is not understood is named."""

import tomllib
from pathlib import Path

import pytest
import tomli_w

from facedep_jax.cnn.settings import CnnSettings
from facedep_jax.errors import SettingsError
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.provenance import write_config
from facedep_jax.scoring.clip_scores import ScoreSettings
from facedep_jax.toml_settings import build, differences, presets, read_records, read_table, resolve, to_table
from facedep_jax.training.settings import TrainSettings


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('[extract]\nsize = "96"\nfps = 2\n')
    settings = resolve(ExtractSettings, "extract", file, {"size": "128", "color": None})
    assert (settings.size, settings.fps, settings.color) == ("128", 2.0, "rgb")
    assert isinstance(settings.fps, float)


def test_resolved_file_reads_back_as_the_same_settings(tmp_path):
    settings = ExtractSettings(weights="random:3", limit=5, retry_failed=True)
    write_config(tmp_path / "config.toml", "extract", to_table(settings), {"cache": {"fingerprint": "x"}})
    assert resolve(ExtractSettings, "extract", tmp_path / "config.toml", {}) == settings
    assert "jax" in tomllib.loads((tmp_path / "config.toml").read_text())["versions"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"extract": {"sizes": "96"}}, "did you mean 'size'"),
        ({"extrct": {"size": "96"}}, "did you mean 'extract'"),
        ({"size": "96"}, "unknown key 'size' outside a table"),
        ({"extract": {"fps": "four"}}, "fps is 'four', expected a number"),
        ({"extract": {"limit": True}}, "expected a whole number"),
        ({"train": {}}, r"has no table \[extract\]"),
        ({"extract": 3}, r"extract is 3, expected a table \[extract\]"),
    ],
)
def test_unknown_keys_and_wrong_types_are_named(tmp_path, document, message):
    file = tmp_path / "c.toml"
    file.write_text(tomli_w.dumps(document))
    with pytest.raises(SettingsError, match=message):
        resolve(ExtractSettings, "extract", file, {})


def test_a_file_that_is_not_toml_is_one_clear_error(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("[extract\n")
    with pytest.raises(SettingsError, match="is not TOML"):
        resolve(ExtractSettings, "extract", file, {})
    with pytest.raises(SettingsError, match=r"absent\.toml is no file, and no preset; these are: affectnet, "):
        resolve(ExtractSettings, "extract", tmp_path / "absent.toml", {})
    with pytest.raises(SettingsError, match="is a folder"):
        resolve(ExtractSettings, "extract", tmp_path, {})


def test_presets_are_found_by_name_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    best = resolve(ExtractSettings, "extract", Path("faces-best"), {})
    assert (best.faces, best.align, best.flip) == ("yunet", True, True)
    (tmp_path / "faces-best").write_text('[extract]\nsize = "96"\n')
    assert resolve(ExtractSettings, "extract", Path("faces-best"), {}) == ExtractSettings(size="96")


@pytest.mark.parametrize("file", presets().values(), ids=presets())
def test_every_preset_is_understood_and_says_what_it_is_for(file):
    tables = {"extract": ExtractSettings, "train": CnnSettings if file.stem.startswith("train-cnn") else TrainSettings}
    for name, table in tomllib.loads(file.read_text()).items():
        assert name == "grid" or build(tables[name], table, str(file))
    assert f"--config {file.stem}" in file.read_text() or f"--grid-search {file.stem}" in file.read_text()


@pytest.mark.parametrize(
    ("cls", "given", "message"),
    [
        (ExtractSettings, {"fps": 0.0}, "--fps is 0, expected"),
        (ExtractSettings, {"fps": float("nan")}, "--fps is nan, expected"),
        (ExtractSettings, {"color": "sepia"}, "--color is 'sepia', expected rgb or grey"),
        (ExtractSettings, {"margin": -1.0}, "--margin is -1.0, expected"),
        (ExtractSettings, {"shard_rows": 0}, "--shard-rows is 0, expected at least 1"),
        (ExtractSettings, {"limit": 0}, "--limit is 0, expected at least 1"),
        (ExtractSettings, {"batch_size": 0}, "--batch-size is 0, expected at least 1"),
        (ExtractSettings, {"batch_size": 4097}, "--batch-size is 4097, expected at least 1 and at most 4096"),
        (ExtractSettings, {"limit": -1, "fps": -1.0}, "--fps is -1.*; --limit is -1"),
        (ScoreSettings, {"window": -1.0}, "--window is -1, expected"),
        (ScoreSettings, {"window": float("inf")}, "--window is inf, expected"),
        (ScoreSettings, {"window": float("nan")}, "--window is nan, expected"),
        (ScoreSettings, {"min_coverage": 1.5}, "--min-coverage is 1.5, expected 0 to 1"),
        (ScoreSettings, {"min_coverage": -0.1}, "--min-coverage is -0.1, expected 0 to 1"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(cls, given, message):
    with pytest.raises(SettingsError, match=message):
        cls(**given)


def test_values_at_the_limits_are_taken():
    assert ExtractSettings(batch_size=4096, limit=1, shard_rows=1, margin=-0.25).batch_size == 4096
    assert (ScoreSettings(min_coverage=0.0).min_coverage, ScoreSettings(min_coverage=1.0).min_coverage) == (0.0, 1.0)


def test_a_record_that_is_no_table_is_damage(tmp_path):
    (tmp_path / "config.toml").write_text("score = 3\n")
    with pytest.raises(SettingsError, match="is damaged: score is 3"):
        read_records(tmp_path / "config.toml", ("score", "run"))


def test_differences_names_every_leaf():
    assert differences({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}, "b": 4}) == ["a.y: 2 → 3", "b: nothing → 4"]


def test_build_refuses_what_the_dataclass_does_not_have():
    with pytest.raises(SettingsError, match="unknown key 'windw'; did you mean 'window'"):
        build(ScoreSettings, {"windw": 1.0}, "options")


@pytest.mark.parametrize(
    ("run", "weight"), [("", 0.25), ("[run]\nformat = 1\n", 0.0), ("[run]\nformat = 1\nclass_weight = 3\n", 0.0)]
)
def test_a_setting_that_a_run_of_an_earlier_version_lacks_is_what_it_was_then(tmp_path, run, weight):
    file = tmp_path / "config.toml"
    file.write_text(f"[train]\nepochs = 3\n{run}")
    assert resolve(TrainSettings, "train", file, {}).class_weight == weight
    assert resolve(TrainSettings, "train", file, {"class_weight": 0.5}).class_weight == 0.5
    file.write_text("[train]\nepochs = 3\n[run]\nkind = 'cnn'\n")
    assert "class_weight" not in read_table(file, "train")
