"""Where the functions run: a script without a main guard, a notebook; and what importing the package costs."""

import ast
import inspect
import os
import subprocess
import sys

import pytest
from support.paths import ROOT

import facedep_jax
from facedep_jax.api.runs import Run
from facedep_jax.api.words import _FLAG, _argument, in_arguments
from facedep_jax.sources.synthetic_faces import draw_faces

HEAVY = ("jax", "numpy", "polars", "matplotlib", "cv2", "click", "rich", "tensorflow_datasets")
SCRIPT = """
import facedep_jax
made = facedep_jax.extract("faces", "cache", weights="random:1", taps="mobilenet_v2:mid@1", size="32", limit=4{more})
print(len(made.cache.items))
"""


def python(folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("module", ["facedep_jax", "facedep_jax.cli"])
def test_importing_loads_nothing_heavy(module, tmp_path):
    """Of the command line `click` is what it is made of."""
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = ast.literal_eval(python(tmp_path, "-c", code).stdout)
    assert loaded == (["click"] if module.endswith("cli") else [])


def test_dir_and_all_name_every_function():
    assert {"extract", "open_cache", "train", "load_run", "evaluate", "describe", "study_persons"} <= set(
        dir(facedep_jax)
    )
    assert all(callable(getattr(facedep_jax, name)) for name in facedep_jax.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'extrct'"):
        getattr(facedep_jax, "extrct")  # noqa: B009


def test_a_script_needs_no_main_guard(tmp_path):
    draw_faces(tmp_path / "faces", persons=1)
    (tmp_path / "script.py").write_text(SCRIPT.format(more=""))
    result = python(tmp_path, "script.py")
    assert (result.returncode, result.stdout) == (0, "4\n"), result.stderr
    assert "UNTRAINED WEIGHTS" in result.stderr  # a warning that nobody asked for reaches who looks
    (tmp_path / "script.py").write_text(SCRIPT.format(more=", rehash=True, workers=2"))
    refused = python(tmp_path, "script.py")
    assert refused.returncode == 1 and "outside of a main guard" in refused.stderr


def test_a_notebook_shows_a_bar_and_tables(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient and ipykernel are absent (extra: test)")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    draw_faces(tmp_path / "faces", persons=1)
    notebook = nbformat.v4.new_notebook()
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport facedep_jax\n"
        'made = facedep_jax.extract("faces", "cache", weights="random:1", taps="mobilenet_v2:mid@1", size="32")\nmade',
        "made.cache",
        'facedep_jax.extract("faces", "cache", fps=0.0)',
    )
    notebook.cells = [nbformat.v4.new_code_cell(text) for text in code]
    client = nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, allow_errors=True)
    client.execute()
    first, second, third = (cell["outputs"] for cell in notebook.cells)
    shown = [output["data"]["text/html"] for output in first if "data" in output and "text/html" in output["data"]]
    assert any(html.startswith("<progress") and "extract: " in html for html in shown)
    assert shown[-1].startswith("<div><b>extraction into cache</b>")
    assert "mobilenet_v2:mid@1 1×1×" in second[0]["data"]["text/html"]
    assert third[-1]["ename"] == "SettingsError" and third[-1]["evalue"].startswith("fps is 0, expected")


def test_every_flag_in_a_sentence_is_an_argument_of_some_function():
    """But in rooms that no function leads into: what imports, what purges, what shows live."""
    functions = [getattr(facedep_jax, name) for name in facedep_jax.__all__ if name != "__version__"]
    known = {name for one in (*functions, Run.predict, Run.score) for name in inspect.signature(one).parameters}
    elsewhere = ("cli", "feature_import", "monitor", "media/live_source.py", "cache/maintenance")
    unknown = set()
    for path in sorted((ROOT / "facedep_jax").rglob("*.py")):
        file = path.relative_to(ROOT / "facedep_jax").as_posix()
        for text in [] if file.startswith(elsewhere) else sentences(path):
            unknown |= {(file, flag[2]) for flag in _FLAG.finditer(text) if _argument(flag[2]) not in known}
    assert unknown == set()


def sentences(path):
    """Every string of a file that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("--detector-model lacks it; --no-align leaves them", "detector_model lacks it; align=False leaves them"),
        ("give --head, say --column label=HEADING", "give run, say columns label=HEADING"),
        ("(--split all has them)", "(split all has them)"),
        ("/data/my--set/a.png and x --- y", "/data/my--set/a.png and x --- y"),
    ],
)
def test_flags_become_arguments_and_paths_stay(said, expected):
    assert in_arguments(said) == expected
