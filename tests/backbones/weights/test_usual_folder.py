"""The folder of weights that is named once: who says so, what goes before what, and that each use of it is told."""

import json
import tomllib

import pytest
from click.testing import CliRunner
from support.untrained_run import write_run

from facedep_jax.backbones.weights.usual_folder import UsualFolder, remember, usual_folder
from facedep_jax.cli import main
from facedep_jax.errors import SettingsError, WeightsError
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import user_settings
from facedep_jax.progress_events import Note
from facedep_jax.runs.run_directory import load_head
from facedep_jax.scoring.head_requirements import extract_settings, naming_weights

SMALL = ExtractSettings(taps="mobilenet_v2:top@1", size="64")


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDEP_CONFIG", str(tmp_path / "settings"))


def weights(*arguments):
    result = CliRunner().invoke(main, ["weights", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_nobody_says_one():
    assert usual_folder() is None
    assert weights("list")["usual"] is None


def test_what_is_used_is_remembered_shown_and_forgotten(tmp_path):
    (tmp_path / "w").mkdir()
    assert weights("use", tmp_path / "w")["weights"] == str(tmp_path / "w")
    assert usual_folder() == UsualFolder(str(tmp_path / "w"), f"remembered in {user_settings()}")
    listed = weights("list")
    assert listed["directory"] == str(tmp_path / "w") and listed["usual"].startswith(str(tmp_path / "w"))
    shown = CliRunner().invoke(main, ["weights", "list"]).stdout
    assert f"{tmp_path / 'w'} (remembered in {user_settings()})" in shown
    weights("use", "--none")
    assert usual_folder() is None


def test_the_variable_goes_before_what_is_remembered_and_an_option_before_both(tmp_path, monkeypatch):
    remember(tmp_path)
    monkeypatch.setenv("FACEDEP_WEIGHTS", "random:5")
    assert usual_folder() == UsualFolder("random:5", "FACEDEP_WEIGHTS")
    heard = []
    plan = plan_extraction(("image",), SMALL, heard.append)
    assert plan.settings.weights == "random:5"
    assert "weights: random:5 (FACEDEP_WEIGHTS)" in [event.text for event in heard if isinstance(event, Note)]
    heard.clear()
    named = plan_extraction(("image",), ExtractSettings(**{**vars(SMALL), "weights": "random:6"}), heard.append)
    assert named.spec["features"]["weights"]["mobilenet_v2"]["seed"] == 6
    assert not any("FACEDEP_WEIGHTS" in event.text for event in heard if isinstance(event, Note))


def test_a_run_of_random_weights_is_scored_by_its_own(tmp_path, monkeypatch):
    """A folder that is used for everything else holds others."""
    monkeypatch.setenv("FACEDEP_WEIGHTS", str(tmp_path))
    head = load_head(write_run(tmp_path / "run"))
    assert extract_settings(head.features, ExtractSettings()).weights == "random:1"


def test_weights_that_a_run_needs_are_looked_for_in_the_usual_folder(tmp_path, monkeypatch):
    head = load_head(write_run(tmp_path / "run", family="torchvision", sha256="0" * 64))
    with pytest.raises(WeightsError, match="or once with `weights use`"), naming_weights(head, SMALL):
        pass
    monkeypatch.setenv("FACEDEP_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="no file holds mobilenet_v2"), naming_weights(head, SMALL):
        plan_extraction(("image",), SMALL)


def test_an_extraction_says_in_its_record_where_its_weights_were(tmp_path, monkeypatch):
    from facedep_jax.sources.synthetic_faces import draw_faces

    monkeypatch.setenv("FACEDEP_WEIGHTS", "random:5")
    draw_faces(tmp_path / "faces", persons=1, each=1)
    command = f"extract-features {tmp_path}/faces --taps mobilenet_v2:top@1 --size 64 --out {tmp_path}/cache --limit 1"
    assert CliRunner().invoke(main, command.split()).exit_code == 0
    assert tomllib.loads((tmp_path / "cache" / "config.toml").read_text())["extract"]["weights"] == "random:5"


@pytest.mark.parametrize(
    ("arguments", "said"), [((), "give the folder to remember"), (("x", "--none"), "give the folder to remember")]
)
def test_use_wants_a_folder_or_none(arguments, said):
    result = CliRunner().invoke(main, ["weights", "use", *arguments])
    assert result.exit_code == 2 and said in result.output


def test_a_folder_that_is_not_there_is_not_remembered(tmp_path):
    result = CliRunner().invoke(main, ["weights", "use", str(tmp_path / "absent")])
    assert result.exit_code == 1 and "does not exist" in result.output
    assert usual_folder() is None


def test_settings_that_cannot_be_read_are_one_sentence():
    user_settings().parent.mkdir(parents=True)
    user_settings().write_text("weights = [")
    with pytest.raises(SettingsError, match=r"cannot be read .* mend or remove it"):
        usual_folder()
