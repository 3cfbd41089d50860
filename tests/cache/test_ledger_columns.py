"""Ledgers read as columns say exactly what they say line by line."""

import json
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedep_jax.cache import checksummed_jsonl, ledger_columns
from facedep_jax.cache.checksummed_jsonl import BadLine, checked_lines, drop_lines, encode_line, read_lines, usable
from facedep_jax.cache.ledger_columns import latest, read_columns
from facedep_jax.cache.ledger_members import fault, read_ledger
from facedep_jax.text_columns import text_frame

HASH = "ab" * 32


def by_lines(folder, name):
    """The frame and the bad lines as they come without any columns."""
    entries, bad = read_ledger(folder, name)
    return text_frame(entries), bad


def same(frame, expected):
    """Equal but for the order of columns, and columns in which nothing is said."""
    said = sorted(name for name in expected.columns if expected[name].null_count() < expected.height)
    also = sorted(name for name in frame.columns if frame[name].null_count() < frame.height)
    return frame.height == expected.height and said == also and frame.select(said).equals(expected.select(said))


def raw(text):
    """A line with a right checksum, whatever its text says."""
    digest = checksummed_jsonl._digest(text.encode()).decode()
    return f'{text[:-1]},"check":"{digest}"}}\n'.encode()


TEXTS = ["a", "né", "\udc80", "😀", '"', "\\", ":", "null", "", "a,b", '":', "\n"]
names = st.one_of(st.sampled_from(TEXTS), st.text(max_size=6))
values = st.one_of(st.none(), names, st.booleans(), st.integers(), st.lists(names, max_size=2), st.just(2**70))
listing = st.fixed_dictionaries(
    {"item": st.one_of(st.none(), st.just(HASH), values), "source": names, "path": names},
    optional={"emotion": names, "subject": st.one_of(st.none(), names), "split": values, "gone": values, "x": values},
)
usual = st.fixed_dictionaries({"item": st.just(HASH), "source": st.just("/s"), "path": names, "subject": st.none()})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(usual, usual, listing), max_size=30), st.integers(1, 400), st.data())
def test_columns_are_what_the_lines_say(tmp_path_factory, entries, piece, data):
    folder = tmp_path_factory.mktemp("ledger")
    content = bytearray(b"".join(map(encode_line, entries)))
    for _ in range(data.draw(st.integers(0, 3)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "listings.jsonl").write_bytes(content[: data.draw(st.sampled_from([None, -1, -9]))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksummed_jsonl, "PIECE", piece)
        frame, bad = read_columns(folder, "listings.jsonl")
    expected, lines = by_lines(folder, "listings.jsonl")
    assert bad == lines and same(frame, expected)


ODD = [
    '{"item":null,"source":"s","path":"p","path":"q"}',
    '{"item":null,"source":"s","path":"a\\",\\"emotion\\":\\"b"}',
    '{ "item":null,"source":"s","path":"p"}',
    '{"item":null,"source":"s","path":"p","x":{"y":"z"}}',
    '{"item":null,"source":"s","path":"p","x":["a","b"]}',
    '{"item":null,"source":"s","path":"\\ud83d\\ude00"}',
    '{"item":null,"source":"s","path":"\\u00e9\\udc80"}',
    '{"item":null,"source":"s","path":"\\x"}',
    '{"item":null,"source":"s","path":"\\u12"}',
    '{"item":null,"source":"s","path":"a\tb"}',
    '{"item":null,"source":"s","path":"p"},',
    '{"item":null,"source":"s","path":"p"}"x"}',
    '{"item":null,"source":"s"}',
    '{"item":5,"source":"s","path":"p"}',
    '{"item":nul,"source":"s","path":"p"}',
    '{"item":null,"source":"s","path":"p","":"x"}',
    '{"item":null,"source":null,"path":"p"}',
    '{"item":null,"source":"s","path":"p","x":01}',
    "{}",
    "[]",
    '{"item":null,"source":"s","path":"' + "a" * 300_000 + '"}',
    '{"item":null,"source":"s","path":"p","x":' + "[" * 50_000 + "]" * 50_000 + "}",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_a_line_of_a_stranger_means_the_same_among_many(tmp_path, odd):
    """Whichever line is first, and so says how the others are taken for being built."""
    plain = encode_line({"item": HASH, "source": "s", "path": "x", "emotion": "sad"})
    for place in (0, 3, 40):
        (tmp_path / "listings.jsonl").write_bytes(plain * place + raw(odd) + plain * 40)
        frame, bad = read_columns(tmp_path, "listings.jsonl")
        expected, lines = by_lines(tmp_path, "listings.jsonl")
        assert bad == lines and same(frame, expected)


def test_more_ways_of_building_lines_than_are_looked_for(tmp_path):
    entries = [{"item": None, "source": "s", "path": f"{n}", f"column{n % 50}": "v"} for n in range(500)]
    (tmp_path / "listings.jsonl").write_bytes(b"".join(map(encode_line, entries)))
    frame, bad = read_columns(tmp_path, "listings.jsonl")
    assert not bad and same(frame, text_frame(entries))


@pytest.mark.parametrize(
    "signature",
    [[1, 2, 3, 4, 5], [1, -2, 3, 2**64, 5], [1, 2, 3, 4], [1, 2, 3, 4, 5.0], [1, 2, 3, 4, True], "[1]", None],
)
def test_signatures(tmp_path, signature):
    good = encode_line({"path": "/a", "signature": [0, 1, 2, 3, 4], "item": HASH})
    line = encode_line({"path": "/b", "signature": signature, "item": HASH})
    for content in (good + line + good, line + good):
        (tmp_path / "files.jsonl").write_bytes(content)
        frame, bad = read_columns(tmp_path, "files.jsonl")
        expected, lines = by_lines(tmp_path, "files.jsonl")
        assert bad == lines
        assert list(map(json.loads, frame["signature"])) == list(map(json.loads, expected["signature"]))


def test_only_what_is_asked_for_is_kept_and_all_is_checked(tmp_path):
    good = encode_line({"item": HASH, "source": "s", "path": "p", "emotion": "sad"})
    wrong = encode_line({"item": HASH, "source": "s", "path": "p", "emotion": 3})
    (tmp_path / "listings.jsonl").write_bytes(good + wrong)
    frame, bad = read_columns(tmp_path, "listings.jsonl", ("path",), numbered=True)
    assert frame.to_dict(as_series=False) == {ledger_columns.LINE: [1], "path": ["p"]}
    assert bad == [BadLine(2, "its emotion cannot be meant", written=True)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(0, 99)), max_size=20))
def test_the_last_line_wins_at_the_place_of_the_first(rows):
    frame = text_frame({"source": s, "path": p, "n": str(n)} for s, p, n in rows)
    expected = {(s, p): str(n) for s, p, n in rows}
    found = latest(frame, ["source", "path"])
    assert [tuple(row) for row in found.rows()] == [(*key, value) for key, value in expected.items()]


def test_lines_are_dropped_by_number_and_the_others_stay_as_they_are(tmp_path):
    ledger = tmp_path / "x.jsonl"
    ledger.write_bytes(b"a\nb\nc\nd")
    drop_lines(ledger, [2, 3])
    assert ledger.read_bytes() == b"a\nd\n"


def test_a_ledger_is_read_a_piece_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(checksummed_jsonl, "PIECE", 1000)
    lines = b"".join(encode_line({"n": n}) for n in range(500))
    (tmp_path / "x.jsonl").write_bytes(lines)
    pieces = list(checked_lines(tmp_path / "x.jsonl"))
    assert len(pieces) > 10 and max(sum(map(len, piece)) for _, piece, _ in pieces) < 1100
    assert [n for numbers, _, _ in pieces for n in numbers] == list(range(1, 501))
    assert read_lines(tmp_path / "x.jsonl")[0] == [{"n": n} for n in range(500)]


def test_fault_is_asked_the_same_of_a_line_read_singly():
    line = encode_line({"item": 5, "source": "s", "path": "p"})
    assert usable(7, line, partial(fault, "listings.jsonl")) == BadLine(7, "its item cannot be meant", True)


def test_usual_lines_are_not_read_singly(tmp_path, monkeypatch):
    """A file name of any alphabet, no subject, a note of decoding now and then: by columns all the same."""
    entries = [
        {"item": HASH, "source": "/é", "path": f"ö{n}", "subject": None if n % 3 else "x"}
        | ({"decoding": "turned"} if n % 5 else {})
        for n in range(200)
    ]
    (tmp_path / "listings.jsonl").write_bytes(b"".join(map(encode_line, entries)))
    monkeypatch.setattr(ledger_columns, "usable", lambda *_: pytest.fail("a line was read singly"))
    assert same(read_columns(tmp_path, "listings.jsonl")[0], text_frame(entries))
