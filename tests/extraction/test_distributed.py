"""Several processes leave what one would have left, whoever of them dies on the way."""

import contextlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import ExifTags, Image
from support.certificates import certificate
from support.odd_clip import write_damaged_clip
from support.paths import ROOT

from facedep_jax.cache import open_cache
from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.errors import CacheError, ClusterError, MediaError, SettingsError
from facedep_jax.extraction import distributed_extraction as extraction_distributed
from facedep_jax.extraction.cluster_address import require_guarded
from facedep_jax.extraction.dask_worker import Done
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.local_extraction import ItemResolver
from facedep_jax.extraction.outcomes import Outcome, Outcomes, write_down
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.progress_events import Note, silent
from facedep_jax.sources import Listing, read_source
from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces

distributed = pytest.importorskip("distributed", reason="dask.distributed (extra: cluster) is not installed")

FAST = {"weights": "random:1", "taps": "mobilenet_v2:mid@1", "size": "32", "batch_size": 4, "shard_rows": 8}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Drawn faces, one of them twice, one damaged and one turned, clips that span several shards and one that is
    damaged within, a picture of a kind that is not read, and a note.
    """
    folder = tmp_path_factory.mktemp("media")
    draw_faces(folder, persons=8)
    draw_clips(folder)
    faces = sorted(p for p in folder.rglob("*") if p.suffix in (".png", ".jpg"))
    faces[0].with_name("again" + faces[0].suffix).write_bytes(faces[0].read_bytes())
    faces[1].with_name("cut" + faces[1].suffix).write_bytes(faces[1].read_bytes()[:200])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with Image.open(faces[2]) as picture:
        picture.save(faces[2].with_name("turned.jpg"), exif=exif)
    write_damaged_clip(folder / "odd.mp4")
    (folder / "a.jxl").write_bytes(b"not opened")
    (folder / "notes.txt").write_text("not media")
    return folder


@pytest.fixture(scope="module")
def alone(media, tmp_path_factory):
    """The cache that one process makes, and what it says of it."""
    out = tmp_path_factory.mktemp("alone") / "cache"
    return out, run(media, out)


def run(media, out, report=lambda event: None, **changed):
    return extract([read_source(str(media))], out, ExtractSettings(**(FAST | changed)), report)


def command(media, out, *arguments) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in FAST.items()]
    cli = ROOT / "cli.py"
    return [sys.executable, str(cli), "extract-features", str(media), "--out", str(out), *options, *arguments]


def workers_of(process: subprocess.Popen) -> list[int]:
    """Process ids of the workers that `process` started, by whichever of its threads."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(child) for path in threads for child in path.read_text().split() if "spawn_main" in _arguments(child)]


def _arguments(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has ended meanwhile
        return ""


def test_two_workers_leave_what_one_process_leaves(media, alone, tmp_path):
    notes = []

    def report(event):
        notes.append(event)
        if isinstance(event, Note) and event.text == "2 workers on this machine":  # as a killed one leaves it
            (tmp_path / "cache" / "shards" / "host-1.tmp").write_bytes(b"half a shard")

    summary = run(media, tmp_path / "cache", report, workers=2)
    expected = alone[1]
    same = ("fingerprint", "items_total", "items_new", "items_failed", "items_reused", "rows", "engine", "features")
    same += ("items_ignored", "ignored", "files_odd")
    assert {name: summary[name] for name in same} == {name: expected[name] for name in same}
    assert sorted(f["reason"] for f in summary["failures"]) == sorted(f["reason"] for f in expected["failures"])
    assert summary["items_failed"] >= 1
    assert diff_caches(alone[0], tmp_path / "cache")["equal"]
    said = {e["path"]: e.get("decoding") for e in open_cache(tmp_path / "cache").listings.to_dicts()}
    said = {path.rpartition("/")[2]: text for path, text in said.items() if text}
    assert said["turned.jpg"] == "turned by 90°" and said.keys() == {"turned.jpg", "odd.mp4"}
    assert verify_cache(tmp_path / "cache")["ok"]
    texts = [event.text for event in notes if isinstance(event, Note)]
    assert "2 workers on this machine" in texts
    assert summary["files_odd"] == 1 and any(text.startswith("odd.mp4: ") and "damaged" in text for text in texts)
    assert (tmp_path / "cache/ignored.jsonl").read_bytes() == (alone[0] / "ignored.jsonl").read_bytes() != b""
    assert any(text.startswith("worker ") and "agrees with xla" in text for text in texts)
    again = run(media, tmp_path / "cache", workers=2)
    assert again["items_new"] == 0 and again["rows"] == 0 and again["files_odd"] == 1


def test_a_killed_worker_costs_nothing_but_its_task(media, alone, tmp_path):
    """Whatever it has in hand is computed by another; what is in place already keeps its name."""
    out = tmp_path / "cache"
    process = subprocess.Popen(command(media, out, "--workers", "2", "--json"), stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not list((out / "shards").glob("*.h5")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        victims = workers_of(process)
        assert victims, "no worker to kill"
        with pytest.raises(CacheError, match=f"cache is being used by process {process.pid} on "):
            run(media, out)
        os.kill(victims[0], signal.SIGKILL)
        printed, _ = process.communicate(timeout=200)
    finally:
        process.kill()
    summary = json.loads(printed)
    assert process.returncode == 3  # for the damaged picture
    assert summary["items_new"] == alone[1]["items_new"]
    assert diff_caches(alone[0], out)["equal"] and verify_cache(out)["ok"]


@pytest.mark.exhaustive
def test_a_stopped_worker_and_a_second_driver_change_nothing(media, alone, tmp_path):
    """What a worker that stands still has in hand is done by another; who else would write has to wait."""
    out = tmp_path / "cache"
    patience = os.environ | {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "4s"}
    process = subprocess.Popen(command(media, out, "--workers", "2", "--json"), stdout=subprocess.PIPE, env=patience)
    try:
        deadline = time.monotonic() + 120
        while not list((out / "shards").glob("*.h5")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        victims = workers_of(process)
        assert victims, "no worker to stop"
        os.kill(victims[0], signal.SIGSTOP)
        second = subprocess.run(command(media, out, "--workers", "2"), capture_output=True, text=True, check=False)
        assert second.returncode == 1 and f"{out} is being used by process {process.pid} on " in second.stderr
        printed, _ = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 3  # for the damaged picture
    assert json.loads(printed)["items_new"] == alone[1]["items_new"]
    assert diff_caches(alone[0], out)["equal"] and verify_cache(out)["ok"]
    assert not any(_runs(worker) for worker in victims)


def test_a_killed_driver_leaves_what_is_done_and_no_process(media, alone, tmp_path):
    out = tmp_path / "cache"
    process = subprocess.Popen(command(media, out, "--workers", "2"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / "manifest.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = workers_of(process)
    process.kill()
    process.wait()
    assert workers
    while any(_runs(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(_runs(worker) for worker in workers)
    before = {path.name for path in (out / "shards").glob("*.h5")}
    summary = run(media, out, workers=2)
    assert summary["items_reused"] >= 1 and summary["items_new"] < alone[1]["items_new"]
    assert before <= {path.name for path in (out / "shards").glob("*.h5")}
    assert diff_caches(alone[0], out)["equal"] and verify_cache(out)["ok"]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_worker_could_not_use_is_a_failure_of_the_cache(tmp_path):
    """A picture whose features cannot be stored was decoded well: its worker tells first that, then that it failed."""
    plan = plan_extraction(("image",), ExtractSettings(**FAST))
    listing, item = Listing("loud.png", tmp_path / "loud.png", "image"), "a" * 64
    error = pickle.loads(pickle.dumps(MediaError("too loud", stage="compute")))
    became = [Outcome("here", listing, item, new=True), Outcome("here", listing, item, error)]
    with CacheWriter(tmp_path / "cache", plan.spec, SimpleNamespace(name="xla", version="1", device="cpu")) as writer:
        outcomes = Outcomes(1, {}, partial(write_down, writer), silent)
        distribution = extraction_distributed.Distribution(writer, plan, ItemResolver(), outcomes)
        distribution._take(Done("xla", [], 0, became, []))
    assert (outcomes.new, outcomes.items_failed) == (set(), 1)
    assert open_cache(tmp_path / "cache").failures["reason"].to_list() == ["too loud"]


@pytest.mark.exhaustive
def test_a_running_cluster(media, alone, tmp_path):
    """Its scheduler found by file, workers started by somebody else."""
    file = tmp_path / "scheduler.json"
    flags = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "distributed.cli.dask_scheduler",
                "--scheduler-file",
                str(file),
                "--port",
                "0",
                *local,
            ],
            **flags,
        )
    ]
    try:
        worker = ["--nthreads", "1", "--nworkers", "1", "--local-directory", str(tmp_path), *local]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), *worker], **flags
            )
        )
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        summary = run(media, tmp_path / "cache", scheduler=str(file))
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)
    assert summary["items_new"] == alone[1]["items_new"]
    assert diff_caches(alone[0], tmp_path / "cache")["equal"]


@pytest.mark.timeout(1200)  # five processes start, of which three load an engine
def test_a_cluster_with_certificates_as_the_documentation_has_it(media, alone, tmp_path):
    """The commands and the configuration of docs/cluster.md, with a certificate that is made here."""
    written = (ROOT / "docs" / "cluster.md").read_text()
    cert, _ = certificate(tmp_path, "cluster")
    shutil.copy(cert, tmp_path / "ca.pem")
    tls = re.search(r"dask scheduler (--tls-ca-file [^`]+)`", written)[1].split()
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "distributed.yaml").write_text(re.search(r"```yaml\n(.*?)```", written, re.S)[1])
    where = ["--scheduler-file", "scheduler.json", "--host", "tls://127.0.0.1", "--no-dashboard", *tls]
    trusted = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT), "DASK_CONFIG": str(tmp_path / "dask")}}
    stranger = trusted | {"env": trusted["env"] | {"DASK_CONFIG": str(tmp_path / "none")}}
    with (
        dask_process("dask_scheduler", "--port", "0", *where, **trusted),
        dask_process("dask_worker", "--nthreads", "1", "--nworkers", "1", *where, **trusted),
    ):
        file = tmp_path / "scheduler.json"
        until(lambda: file.exists() and file.stat().st_size)  # it is made before it is written
        assert json.loads(file.read_text())["address"].startswith("tls://")
        driving = [command(media, tmp_path / name, "--scheduler", "scheduler.json") for name in ("cache", "other")]
        done = subprocess.run(driving[0], capture_output=True, text=True, **trusted)
        refused = subprocess.run(driving[1], capture_output=True, text=True, **stranger)
    assert done.returncode == 3, done.stderr  # one of the drawn files is damaged
    assert diff_caches(alone[0], tmp_path / "cache")["equal"]
    assert refused.returncode == 1 and "no scheduler with workers at" in refused.stderr, refused.stderr


@contextlib.contextmanager
def dask_process(program, *arguments, **options):
    command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert condition()


@pytest.mark.parametrize(
    ("where", "fine"),
    [
        ("tcp://10.0.0.1:8786", False), ("10.0.0.1:8786", False), ("example.org:1", False), ("ws://[2001::1]:1", False),
        ("tls://10.0.0.1:8786", True), ("tcp://127.0.0.1:1", True), ("localhost:8786", True), ("tcp://[::1]:1", True),
    ],
)  # fmt: skip
def test_another_machine_without_tls_is_refused_unless_it_is_wanted(tmp_path, where, fine):
    (tmp_path / "scheduler.json").write_text(json.dumps({"address": where}))
    for given in (where, str(tmp_path / "scheduler.json")):
        require_guarded(given, insecure=True)
        if fine:
            require_guarded(given, insecure=False)
        else:
            with pytest.raises(ClusterError, match="without TLS, where whoever reaches the port runs code as you"):
                require_guarded(given, insecure=False)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 10**5, "x" * (1 << 21)])
def test_what_is_no_scheduler_s_file_is_a_sentence(media, tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ClusterError, match=r"s\.json is not a scheduler's file"):
        run(media, tmp_path / "cache", scheduler=str(tmp_path / "s.json"))
    assert not (tmp_path / "cache").exists()


def test_as_many_workers_as_asked_for_whatever_the_cores(tmp_path):
    count = (os.cpu_count() or 1) + 1
    with extraction_distributed._client(ExtractSettings(workers=count)) as client:
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == count


def test_no_worker_left_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction_distributed, "SILENCE_S", 0.5)
    with (
        distributed.LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address=None, local_directory=str(tmp_path)
        ) as nobody,
        distributed.Client(nobody) as client,
        pytest.raises(ClusterError, match="no worker is left and 1 tasks are"),
    ):
        extraction_distributed._first_done(client, {client.submit(len, "nothing")}, silent)


def test_a_scheduler_that_is_not_there(media, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction_distributed, "ANSWER_S", 1.0)
    with pytest.raises(ClusterError, match=r"no scheduler with workers at tcp://127\.0\.0\.1:9 "):
        run(media, tmp_path / "cache", scheduler="tcp://127.0.0.1:9")


def test_without_dask_the_extra_is_named(media, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'facedep-jax\[cluster\]'"):
        run(media, tmp_path / "cache", workers=2)


@pytest.mark.parametrize(
    ("given", "said"), [({"workers": 0}, "expected at least 1"), ({"workers": 2, "scheduler": "x"}, "give one of them")]
)
def test_settings_that_cannot_be_meant(given, said):
    with pytest.raises(SettingsError, match=said):
        ExtractSettings(**given)
