"""Rows of a table → clips of caches: each rule, what is listed as not matched, and what is refused in a sentence."""

import pytest
from support.caches import identity, make
from support.clip_cache import ENGINE, add_clip, make_clips
from support.untrained_run import SMALL

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.errors import FacedepError
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.study.cohort_matching import match_clips
from facedep_jax.study.cohort_table import read_cohort
from facedep_jax.study.cohort_units import units_of
from facedep_jax.study.settings import StudySettings


def filled(folder, *clips, source="/s"):
    """A cache of clips of 2 s: (number, path), and what its listing says besides."""
    with CacheWriter(folder, plan_extraction(("clip",), SMALL).spec, ENGINE) as writer:
        for number in sorted({number for number, *_ in clips}):
            add_clip(writer, number, 8)
        for number, path, *more in clips:
            further = more[0] if more else {}
            writer.add_listing({"item": identity(number), "source": source, "path": path, "emotion": None} | further)
    return open_cache(folder)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return open_cache(make_clips(tmp_path_factory.mktemp("clips") / "cache"))


@pytest.fixture(scope="module")
def unnamed(tmp_path_factory):
    """Clips of nobody listed, in folders of persons, numbered ones among them."""
    folder = tmp_path_factory.mktemp("unnamed")
    paths = ["300_P/300_CLNF_AUs.txt", "301_P/a.mp4", "301_P/b.mp4", "video/007.mp4", "video/1/7.mp4", "other.mp4"]
    return filled(folder / "cache", *enumerate(paths, start=1))


def matched(tmp_path, text, *caches, train=(), test=()):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    table = read_cohort([path], StudySettings())
    units = units_of(table)
    return match_clips(table, units, caches, train, test), units


def clips_of(found, units):
    """Paths by subject."""
    rows = found.parts.join(units.select("unit", who="subject"), on="unit").select("who", "path").rows()
    return {who: [path for name, path in rows if name == who] for who, _ in rows}


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("ann/a.mp4", "path"),
        ("./ann/a.mp4", "path"),
        ("/s/ann/a.mp4", "path"),
        ("a.mp4", "file name"),
        ("/home/me/a.mp4", "file name"),
        ("a", "file name without its ending"),
        ("a.avi", "file name without its ending"),
    ],
)
def test_clips_are_found_by_the_nearest_rule_which_is_said(tmp_path, people, path, rule):
    found, _ = matched(tmp_path, f"subject,path,score\nAnn,{path},3\nZoe,z.mp4,4\n", people)
    assert found.parts["path"].to_list() == ["ann/a.mp4"] and found.rule == rule
    assert found.without["subject"].to_list() == ["Zoe"]
    assert found.lost.select("subject", "path", "line").rows() == [("Zoe", "z.mp4", 3)]
    assert "1 rows name clips that are not there: z.mp4" in found.said
    assert {"ann/b.mp4", "ann/copy of b.mp4"} <= set(found.unused["path"]) and len(found.unused) == 6


def test_one_rule_holds_for_all_rows(tmp_path, people):
    """What only a looser rule would find is listed, not taken."""
    found, _ = matched(tmp_path, "subject,path,score\nAnn,ann/a.mp4,3\nAnn,b.mp4,3\n", people)
    assert found.rule == "path" and found.parts["path"].to_list() == ["ann/a.mp4"] and len(found.lost) == 1


def test_persons_are_those_whom_listings_name(tmp_path, people):
    found, units = matched(tmp_path, "subject,score\nANN,3\nBob,12\nZoe,4\n", people)
    assert clips_of(found, units) == {"ANN": ["ann/a.mp4", "ann/b.mp4"], "Bob": ["bob.mp4"]}
    assert found.rule == "the person whom their listings name (3 clips)"
    assert found.without["subject"].to_list() == ["Zoe"] and "nobody there.mp4" in found.unused["path"].to_list()
    assert "ann/copy of b.mp4" not in found.unused["path"].to_list(), "a copy is the same clip"


def test_persons_whom_nobody_lists_are_sought_among_folders_and_files(tmp_path, unnamed):
    found, units = matched(tmp_path, "Participant_ID,PHQ8_Score\n300,3\n301,12\n7,4\n1,5\n", unnamed)
    assert clips_of(found, units) == {
        "300": ["300_P/300_CLNF_AUs.txt"],
        "301": ["301_P/a.mp4", "301_P/b.mp4"],
        "7": ["video/007.mp4"],
        "1": ["video/1/7.mp4"],
    }
    assert found.rule.startswith("the first folder, or else the file without its ending") and "(5 clips)" in found.rule
    assert found.unused["path"].to_list() == ["other.mp4"]


def test_visits_are_those_that_listings_name(tmp_path, people):
    found, units = matched(tmp_path, "subject,visit,score\nAnn,1,3\nAnn,2,9\nbob,2,12\n", people)
    rows = found.parts.join(units.select("unit", "visit"), on="unit").select("subject", "visit", "path").rows()
    assert rows == [("Ann", "1", "ann/a.mp4"), ("Ann", "2", "ann/b.mp4")] and found.rule.endswith("; and by visit")
    assert found.without.select("subject", "visit").rows() == [("bob", "2")]


def test_segments_are_the_row_s_and_overlaps_are_counted(tmp_path, people):
    text = "subject,path,score,start,end\nAnn,a.mp4,3,0,4\nAnn,a.mp4,3,3,0:08\nAnn,b.mp4,3,,\n"
    found, _ = matched(tmp_path, text, people)
    assert found.parts.select("path", "start", "end").rows() == [
        ("ann/a.mp4", 0, 4), ("ann/a.mp4", 3, 8), ("ann/b.mp4", None, None),
    ]  # fmt: skip
    assert "2 of 2 segments overlap another of their clip" in found.said
    found, _ = matched(tmp_path, text.replace("3,0,4", "3,0.05,0.2"), people)
    assert "1 segments lie between two sampled frames: ann/a.mp4 [0.05-0.2 s]" in found.said


def test_segments_of_listings_are_all_the_row_s_where_it_says_no_times(tmp_path):
    cut = {"segments": '[{"start": 0.0, "end": 1.0}, {"start": 1.0, "end": 2.0, "subject": "B"}]'}
    cache = filled(tmp_path / "c", (1, "a.mp4", cut | {"subject": "A"}))
    found, _ = matched(tmp_path, "subject,score\nA,1\nB,2\n", cache)
    assert found.parts.select("subject", "start", "end").rows() == [("A", 0, 1), ("B", 1, 2)]
    assert "1 clips show several persons, one after the other" in found.said
    found, _ = matched(tmp_path, "subject,path,score\nA,a.mp4,1\n", cache)
    assert found.parts.select("start", "end").rows() == [(0, 1), (1, 2)]
    assert any("1 clips are listed as of others; the table counts: a.mp4 is B there" in said for said in found.said)


def test_a_clip_in_two_caches_counts_once_and_pictures_are_said(tmp_path):
    one, two = (filled(tmp_path / name, (1, "a.mp4"), (2 + n, f"{n}.mp4")) for n, name in enumerate(("one", "two")))
    with CacheWriter(tmp_path / "two", two.spec, ENGINE) as writer:
        add_clip(writer, 9, 4)
    found, _ = matched(tmp_path, "subject,path,score\nA,a.mp4,1\nB,1.mp4,2\n", one, two)
    assert found.parts.select("cache", "path").rows() == [(0, "a.mp4"), (1, "1.mp4")]
    assert "1 clips lie in several caches and are taken from the first of them" in found.said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "subject,path,score\nAnn,x.mp4,1\n",
            "names none of the 6 clips in the caches, by path, file name or file name",
        ),
        ("subject,path,score\nAnn,c:\\x.mp4,1\n", "the table's look like c:\\x.mp4; they are written as on Windows"),
        ("subject,path,score\nAnn,,1\n", "path is empty; --column path= finds clips by their persons"),
        ("subject,score\nZoe,1\n", "by the person whom their listings name; the first folder, or else"),
        ("subject,score\nZoe,1\n", "as of Ann, ann, and the table's persons are called like Zoe"),
        (
            "subject,path,score\nAnn,a.mp4,1\nBob,a.mp4,2\n",
            "ann/a.mp4 would be of Ann and Bob (1 such clips); one clip, or segment, shows one person at one visit",
        ),
        (
            "subject,visit,path,score\nAnn,1,a.mp4,1\nAnn,2,a.mp4,2\n",
            "ann/a.mp4 would be of Ann 1 and Ann 2",
        ),
        (
            "subject,path,score,start,end\nAnn,a.mp4,1,0,5\nBob,a.mp4,2,4,9\n",
            "ann/a.mp4 [0-5 s] would be of Ann and Bob",
        ),
        (
            "subject,path,score,start,end\nAnn,a.mp4,1,0,5\nAnn,a.mp4,1,,\n",
            "ann/a.mp4 stands there whole (t.csv, line 3) and in segments (t.csv, line 2)",
        ),
        (
            "subject,path,score,start,end\nAnn,ann/a.mp4,1,0,17\nBob,bob.mp4,2,0,0:13\n",
            "t.csv, line 2: ann/a.mp4 [0-17 s] ends at 17 s, and its clip at 16.00 s; t.csv, line 3: bob.mp4",
        ),
        (
            "subject,score,start,end\nAnn,1,0,5\n",
            "t.csv, line 2: Ann [0-5 s] may be of ann/a.mp4; ann/b.mp4",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(tmp_path, people, text, says):
    with pytest.raises(FacedepError) as caught:
        matched(tmp_path, text, people)
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert says in said and "\n" not in said


def test_segments_one_after_the_other_may_be_of_several_persons(tmp_path, people):
    text = "subject,path,score,start,end\nAnn,a.mp4,1,0,5\nBob,a.mp4,2,5,9\n"
    found, units = matched(tmp_path, text, people)
    assert clips_of(found, units) == {"Ann": ["ann/a.mp4"], "Bob": ["ann/a.mp4"]}


def test_a_file_name_that_several_clips_have(tmp_path):
    cache = filled(tmp_path / "c", (1, "one/a.mp4"), (2, "two/a.mp4"), (1, "copy/b.mp4"), (1, "again/b.mp4"))
    with pytest.raises(FacedepError, match=r"t.csv, line 2: a.mp4 may be /s/one/a.mp4; /s/two/a.mp4; give the whole"):
        matched(tmp_path, "subject,path,score\nA,a.mp4,1\n", cache)
    found, _ = matched(tmp_path, "subject,path,score\nA,b.mp4,1\n", cache)
    assert len(found.parts) == 1, "copies of one clip are one"


def test_a_path_of_two_sources_is_told_by_its_root(tmp_path):
    one, two = filled(tmp_path / "1", (1, "a.mp4")), filled(tmp_path / "2", (2, "a.mp4"), source="/other")
    with pytest.raises(FacedepError, match=r"a.mp4 may be /s/a.mp4; /other/a.mp4"):
        matched(tmp_path, "subject,path,score\nA,a.mp4,1\n", one, two)
    found, _ = matched(tmp_path, "subject,path,score\nA,/other/a.mp4,1\n", one, two)
    assert found.parts["cache"].to_list() == [1]


def test_001_and_1_cannot_both_be_a_file_s_person(tmp_path, unnamed):
    with pytest.raises(FacedepError, match=r"video/007.mp4 would be of 007 and 7"):
        matched(tmp_path, "subject,score\n007,1\n7,2\n", unnamed)


def test_several_visits_of_a_person_whose_clips_name_none(tmp_path, unnamed):
    with pytest.raises(
        FacedepError, match=r"several visits of 301 .1 such persons., and nothing says which clip is of"
    ):
        matched(tmp_path, "subject,visit,score\n301,1,1\n301,2,2\n", unnamed)
    found, units = matched(tmp_path, "subject,visit,score\n301,1,1\n300,2,2\n", unnamed)
    assert set(clips_of(found, units)) == {"300", "301"}, "one visit each needs telling from no other"


def test_nobody_is_learned_from_in_one_corpus_and_judged_in_another(tmp_path):
    one, two = filled(tmp_path / "one", (1, "7/a.mp4")), filled(tmp_path / "two", (2, "7/b.mp4"), (3, "8/c.mp4"))
    text = "subject,score\n7,1\n8,2\n"
    with pytest.raises(
        FacedepError, match=r"7 has clips in .*/one, which is learned from, and in .*/two, which is judg"
    ):
        matched(tmp_path, text, one, two, train=(0,), test=(1,))
    assert len(matched(tmp_path, text, one, two)[0].parts) == 3
    same = filled(tmp_path / "same", (1, "7/a.mp4"))
    with pytest.raises(FacedepError, match="which is judged"):
        matched(tmp_path, "subject,score\n7,1\n", one, same, train=(0,), test=(1,))


def test_a_cache_of_pictures_and_one_whose_clips_are_listed_no_more(tmp_path):
    make(tmp_path / "images", [1, 2])
    with pytest.raises(FacedepError, match=r"images holds 2 images and no clip; a study is of clips"):
        matched(tmp_path, "subject,score\n7,1\n", open_cache(tmp_path / "images"))
    with pytest.raises(FacedepError, match="none of its 1 clips is listed any more"):
        matched(tmp_path, "subject,score\n7,1\n", _unlisted(tmp_path / "unlisted"))


def _unlisted(folder):
    with CacheWriter(folder, plan_extraction(("clip",), SMALL).spec, ENGINE) as writer:
        add_clip(writer, 1, 8)
    return open_cache(folder)
