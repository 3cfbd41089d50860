"""Downloads from a real server on this machine: whole, cut and continued, refused, absent, wrong."""

import contextlib
import hashlib
import socket
import ssl
import time

import pytest
from support.certificates import certificate
from support.loopback import mirror_of

from facedep_jax.backbones.weights import download
from facedep_jax.backbones.weights.download import OfficialFile, official_files
from facedep_jax.backbones.weights.load import find_weights
from facedep_jax.errors import WeightsError
from facedep_jax.file_system import user_cache

CONTENT = bytes(range(256)) * 4096  # 1 MiB: four chunks
FILE = OfficialFile("resnet", "weights.h5", len(CONTENT), f"md5:{hashlib.md5(CONTENT).hexdigest()}")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A mirror with one small "official" file, and an empty user cache."""
    with mirror_of(CONTENT, monkeypatch, tmp_path / "cache") as server:
        monkeypatch.setattr(download, "OFFICIAL", {"resnet50": FILE})
        yield server


def test_whole_file_with_progress_and_only_once(server):
    events = []
    path = official_files(["resnet50"], events.append)["resnet50"]
    assert path == user_cache() / "weights" / "weights.h5"
    assert path.read_bytes() == CONTENT
    done = [event.done for event in events]
    assert done == sorted(set(done)) and done[-1] == len(CONTENT) and len(done) >= 4
    assert {(e.stage, e.unit, e.total, e.detail) for e in events} == {("download", "bytes", len(CONTENT), "weights.h5")}
    assert official_files(["resnet50"]) == {"resnet50": path}
    assert len(server.requests) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "weights.h5"]


def test_a_dropped_connection_is_continued_at_once(server):
    server.cuts = [700_000]
    assert official_files(["resnet50"])["resnet50"].read_bytes() == CONTENT
    (_, first), (_, second) = server.requests
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 700_000


def test_a_later_run_continues_what_an_earlier_one_left(server):
    server.cuts = [600_000, 1]
    with pytest.raises(WeightsError):
        official_files(["resnet50"])
    left = (user_cache() / "weights" / "weights.h5.part").stat().st_size
    assert 0 < left <= 600_001
    assert official_files(["resnet50"])["resnet50"].read_bytes() == CONTENT
    assert server.requests[-1][1] == f"bytes={left}-"


def test_a_server_without_ranges_starts_over(server):
    server.ranges = False
    part = user_cache() / "weights" / "weights.h5.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert official_files(["resnet50"])["resnet50"].read_bytes() == CONTENT
    assert server.requests[0][1] == "bytes=1000-"


def test_wrong_bytes_are_not_kept(server):
    server.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match=r"cannot download.*hash"):
        official_files(["resnet50"])
    assert [p.name for p in (user_cache() / "weights").iterdir()] == [".lock"]


def test_wrong_size_is_refused_before_it_is_fetched(server):
    server.content = CONTENT[:-1]
    with pytest.raises(WeightsError, match="offers 1,048,575 bytes, the official file has 1,048,576"):
        official_files(["resnet50"])
    assert not (user_cache() / "weights" / "weights.h5").exists()


@pytest.mark.parametrize("there", ["file:///etc/hosts", "http://localhost:{port}/mirror/resnet/weights.h5", "/again"])
def test_nobody_is_followed_to_another_server_or_a_file(server, there):
    server.answers = lambda handler: send_on(handler, there.format(port=server.server_port))
    with pytest.raises(WeightsError, match=r"sends on to (file|http|itself more than 5)"):
        official_files(["resnet50"])
    assert left() == []


def test_a_server_may_send_on_to_itself(server):
    server.answers = lambda handler: handler.path.startswith("/mirror/resnet") and send_on(handler, "/real")
    server.path = "/real"
    assert official_files(["resnet50"])["resnet50"].read_bytes() == CONTENT


@pytest.mark.parametrize("pause", [0, 0.3], ids=["at once", "after a pause"])
def test_what_never_ends_is_cut_off(server, pause):
    """Also where what came first is the file to the byte: the next try would find it whole."""
    server.answers = lambda handler: endless(handler, pause)
    with pytest.raises(WeightsError, match="sends more than the 1,048,576 bytes that were expected"):
        official_files(["resnet50"])
    assert left() == []


def test_what_trickles_is_given_up_and_continued_later(server, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT", (10, 0.2))
    monkeypatch.setattr(download, "SLOWEST", 10**9)
    server.answers = trickle
    with pytest.raises(WeightsError, match="less than 1,000,000,000 a second; try again to go on"):
        official_files(["resnet50"])
    assert left() == ["weights.h5.part"]
    monkeypatch.undo()
    server.answers = None


def test_a_server_in_trouble_and_one_that_is_not_trusted(server, monkeypatch, tmp_path):
    server.answers = lambda handler: handler.send_error(503) or True
    with pytest.raises(WeightsError, match="503"):
        official_files(["resnet50"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path, "127.0.0.1"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("FACEDEP_WEIGHTS_MIRROR", f"https://127.0.0.1:{server.server_port}/mirror/")
    with pytest.raises(WeightsError, match="CERTIFICATE_VERIFY_FAILED"):
        official_files(["resnet50"])
    assert left() == []


def left():
    return sorted(path.name for path in (user_cache() / "weights").iterdir() if path.name != ".lock")


def send_on(handler, there):
    handler.send_response(302)
    handler.send_header("Location", there)
    handler.end_headers()
    return True


def endless(handler, pause):
    """No length is said, and no end comes; `pause` are seconds between one whole content and the next."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):  # until nobody listens
        while True:
            handler.wfile.write(CONTENT)
            time.sleep(pause)
    return True


def trickle(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    with contextlib.suppress(OSError):
        for byte in CONTENT:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.01)
    return True


def test_a_file_of_the_wrong_size_in_the_cache_is_named(server):
    path = user_cache() / "weights" / "weights.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"short")
    with pytest.raises(WeightsError, match=r"weights\.h5 has 5 bytes instead of 1,048,576: remove it"):
        official_files(["resnet50"])


def test_absent_file(server, monkeypatch):
    monkeypatch.setattr(download, "OFFICIAL", {"resnet50": FILE._replace(name="other.h5")})
    with pytest.raises(WeightsError, match="404"):
        official_files(["resnet50"])


def test_without_a_network_it_says_what_to_put_where(monkeypatch, tmp_path):
    with socket.socket() as unused:  # bound but not listening: every connection to it is refused
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FACEDEP_WEIGHTS_MIRROR", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path))
        with pytest.raises(WeightsError) as refusal:
            find_weights(None, ["mobilenet_v2", "resnet50"])
    for part in (
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5 (9,406,464 bytes, http://127.0.0.1",
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5 (94,653,016 bytes, http://127.0.0.1",
        f"into {tmp_path / 'weights'}",
        "--weights DIR",
    ):
        assert part in str(refusal.value)


def test_a_downloaded_file_that_is_no_network_is_named(server):
    with pytest.raises(WeightsError, match=r"not a readable Keras \.h5 file.*Remove .*weights\.h5 to have it"):
        find_weights(None, ["resnet50"])


def test_official_addresses_are_those_of_keras():
    """The installed Keras is asked where it would fetch from."""
    resnet = pytest.importorskip("keras.src.applications.resnet")
    mobilenet = pytest.importorskip("keras.src.applications.mobilenet_v2")
    ours = download.OFFICIAL
    assert f"{download.BASE_URL}{ours['resnet50'].folder}/" == resnet.BASE_WEIGHTS_PATH
    assert f"{download.BASE_URL}{ours['mobilenet_v2'].folder}/" == mobilenet.BASE_WEIGHT_PATH
    assert f"md5:{resnet.WEIGHTS_HASHES['resnet50'][1]}" == ours["resnet50"].known_hash
