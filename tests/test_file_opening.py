"""What is no plain file of a bearable size is refused at once, by name, whoever put it there."""

import os
import pickle
import socket

import pytest

from facedep_jax.errors import FacedepError, UnusableFile
from facedep_jax.file_opening import CLAIMED, _has_data, opened, read_bytes, read_text


def socket_at(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(path))


def large_at(path):
    path.write_bytes(b"x" * 101)


def sparse_at(path):
    path.touch()
    os.truncate(path, 20 * 10**9)


ODD = {
    "is a named pipe": os.mkfifo,
    "is a folder": os.mkdir,
    "is a socket": socket_at,
    "is a link": lambda path: path.symlink_to("/dev/zero"),
    "has 101 bytes, expected at most 100": large_at,
    "has 20,000,000,000 bytes": sparse_at,
    "is no text": lambda path: path.write_bytes(b"\xff"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("said", ODD)
def test_what_is_no_plain_file_is_refused_by_name(tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    ODD[said](tmp_path / "odd")
    with pytest.raises(UnusableFile, match=f"{tmp_path}/odd {said}"):
        read_text(tmp_path / "odd", 100)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("target", ["/dev/zero", "pipe"])
def test_a_link_that_the_user_named_is_followed_to_plain_files_alone(tmp_path, target):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"held")
    (tmp_path / "good").symlink_to("file")
    (tmp_path / "bad").symlink_to(target)
    (tmp_path / "round").symlink_to("round")
    assert read_bytes(tmp_path / "good", 100, follow=True) == b"held"
    with pytest.raises(UnusableFile, match=r"is a (device|named pipe), expected a regular file"):
        read_bytes(tmp_path / "bad", 100, follow=True)
    with pytest.raises(UnusableFile, match="round cannot be read: Too many levels"):
        read_bytes(tmp_path / "round", 100, follow=True)


def test_a_file_that_claims_what_the_disk_does_not_hold_is_refused(tmp_path):
    (tmp_path / "hollow").touch()
    os.truncate(tmp_path / "hollow", CLAIMED + 1)
    with pytest.raises(UnusableFile, match=r"claims 16,777,217 bytes, of which the disk holds 0"):
        read_bytes(tmp_path / "hollow", 2**40)
    (tmp_path / "full").write_bytes(bytes(CLAIMED + 1))
    for name, has in (("full", True), ("hollow", False)):  # what is asked where blocks are counted late, or packed
        with open(tmp_path / name, "rb") as stream:
            assert _has_data(stream.fileno(), CLAIMED + 1) is has and stream.tell() == 0
    assert len(read_bytes(tmp_path / "full", 2**40)) == CLAIMED + 1


def test_what_is_not_there_is_told_from_what_is_odd(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "absent", 100)
    with pytest.raises(NotADirectoryError):
        read_bytes(tmp_path / "file" / "inside", 100)
    with pytest.raises(UnusableFile, match="cannot be read"), opened(tmp_path / "a\0b", 100):
        pass


def test_the_refusal_is_a_sentence_and_an_error_of_the_system_and_goes_to_other_processes(tmp_path):
    error = UnusableFile(tmp_path, "is odd")
    assert isinstance(error, FacedepError) and isinstance(error, OSError)
    assert str(error) == f"{tmp_path} is odd" == str(pickle.loads(pickle.dumps(error))) and error.strerror == "is odd"
