"""Pages show what they are given as text, and hold nothing that could run."""

from facedep_jax.report.html import render_page

HOSTILE = "<img src=x onerror=alert(1)>\n=cmd()\x1b[31m"


def test_names_are_text_everywhere(tmp_path):
    picture = tmp_path / "p.png"
    picture.write_bytes(b"\x89PNG")
    page = render_page(HOSTILE, {HOSTILE: [(HOSTILE,), (HOSTILE,)]}, {HOSTILE: picture}, {HOSTILE: HOSTILE}, HOSTILE)
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 8
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_figures_have_three_decimals_and_gaps_a_dash():
    page = render_page("t", {"table": [("a", "b", "c"), (0.12345, None, 7)]}, {}, {})
    assert "<td>0.123</td><td>–</td><td>7</td>" in page
    assert "not a diagnosis" in page
