"""Settings: what is written is what is read, and what is not understood is named."""

import tomllib

import pytest
import tomli_w

from facedep_jax.config import ExtractSettings, ScoreSettings, build, differences, resolve, to_table
from facedep_jax.errors import SettingsError
from facedep_jax.versions import write_config


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
    with pytest.raises(SettingsError, match="cannot be read"):
        resolve(ExtractSettings, "extract", tmp_path / "absent.toml", {})


def test_differences_names_every_leaf():
    assert differences({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}, "b": 4}) == ["a.y: 2 → 3", "b: nothing → 4"]


def test_build_refuses_what_the_dataclass_does_not_have():
    with pytest.raises(SettingsError, match="unknown key 'windw'; did you mean 'window'"):
        build(ScoreSettings, {"windw": 1.0}, "options")
