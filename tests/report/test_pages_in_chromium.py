"""Pages as a browser shows them: opened from disk, sorted, looked at narrow and wide, light and dark."""

import cv2
import numpy as np
import pytest
from support.chromium import Chromium, find
from support.scored import HOSTILE, STACK, batch, page

from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.report.document import Section, Table
from facedep_jax.report.html import render_sections


@pytest.fixture(scope="module")
def browser():
    program = find()
    if not program:
        pytest.skip("no chromium here: pages are not looked at (apt-get install chromium)")
    with Chromium(program) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(batch(16, stack=STACK), faces=True, warning=UNTRAINED, stack=STACK), encoding="utf-8")
    return path


ORDER = "Array.from(document.querySelectorAll('table.sortable tbody tr'), row => row.cells[{}].textContent.trim())"


def heading(name):
    return f"table.sortable th:nth-child({['clip', 'over time', 'decision', 'score'].index(name) + 1}) button"


def test_opens_from_disk_without_a_word_on_the_console(browser, report):
    browser.problems.clear()
    browser.look(1280)
    browser.open(report)
    assert browser.value("document.title") == f"Scores: {HOSTILE[0]}"
    assert browser.value("document.querySelectorAll('table.sortable tbody tr').length") == 16
    assert browser.value("document.querySelector('p.warning').textContent") == UNTRAINED
    assert browser.value("document.querySelectorAll('svg image').length") > 20
    assert browser.value("document.querySelectorAll('svg.bands').length") == 14  # two failed
    painted = "getComputedStyle(document.querySelector('svg.bands path.e{0}')).fill"
    key = "getComputedStyle(document.querySelector('p.key i.e{0}')).backgroundColor"
    assert all(browser.value(painted.format(n)) == browser.value(key.format(n)) for n in range(8))
    assert len({browser.value(painted.format(n)) for n in range(8)}) == 8
    assert browser.problems == []


def test_a_heading_sorts_by_mouse_and_keyboard_and_says_so(browser, report):
    browser.look(1280)
    browser.open(report)
    before = browser.value(ORDER.format(3))
    browser.click(heading("score"))
    rising = browser.value(ORDER.format(3))
    numbers = [float(text) for text in rising if text != "–"]
    assert numbers == sorted(numbers) and rising != before
    assert rising[len(numbers) :] == ["–"] * (len(rising) - len(numbers)) != []
    said = "document.querySelector('th[aria-sort]').getAttribute('aria-sort')"
    assert browser.value(said) == "ascending"
    browser.press("Enter")  # the heading has the focus
    falling = browser.value(ORDER.format(3))
    assert [float(text) for text in falling[: len(numbers)]] == numbers[::-1]
    assert falling[len(numbers) :] == rising[len(numbers) :] and browser.value(said) == "descending"
    by_score = browser.value(ORDER.format(0))
    browser.click(heading("clip"))
    assert browser.value("document.querySelectorAll('th[aria-sort]').length") == 1
    names = browser.value(ORDER.format(0))
    plain = [name for name in names if name.startswith("session")]
    assert browser.value(said) == "ascending" and plain == sorted(plain) and len(plain) == 12
    assert names != by_score and sorted(names) == sorted(by_score)


def test_without_scripts_the_whole_table_is_there(browser, report):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(report)
        shown = browser.value("document.body.innerText")
        assert browser.value("document.querySelectorAll('th button').length") == 0
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert "does not let the page sort" in shown and "clip_007.mp4" in shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_fits_and_can_be_read(browser, report, width, scheme):
    """Nothing wider than the window but tables, which scroll by themselves; ink stands out from the page."""
    browser.look(width, scheme=scheme)
    browser.open(report)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert contrast(browser, "document.querySelector('td')", "document.body") > 7
    assert contrast(browser, "document.querySelector('figcaption')", "document.body") > 4.5
    assert contrast(browser, "document.querySelector('p.warning')", "document.body") > 4.5
    shot = cv2.imdecode(np.frombuffer(browser.screenshot(whole=False), np.uint8), cv2.IMREAD_COLOR)
    assert shot.shape[1] == width
    paper = [int(part) for part in browser.value("getComputedStyle(document.body).backgroundColor")[4:-1].split(",")]
    assert (sum(paper) < 3 * 128) == (scheme == "dark")
    drawn = np.abs(shot[..., ::-1].astype(int) - paper).max(-1) > 64  # ink on it, and paper around that
    assert 0.01 < drawn.mean() < 0.5 and not drawn[:, :3].any()


def test_on_a_narrow_screen_the_decision_is_seen_first(browser, report):
    browser.look(400)
    browser.open(report)
    place = browser.value("(r => [r.right, r.bottom])(document.querySelector('td.worded').getBoundingClientRect())")
    assert place[0] <= 400 and place[1] <= 900


def contrast(browser, ink, paper):
    """Contrast of WCAG 2 (1.4.3) between the colour of one element and the background of another."""
    colors = [f"getComputedStyle({ink}).color", f"getComputedStyle({paper}).backgroundColor"]
    light = []
    for color in colors:
        channels = [int(part) / 255 for part in browser.value(color)[4:-1].split(",")]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_names_are_only_text_to_a_browser(browser, report):
    browser.open(report)
    assert browser.value("document.querySelectorAll('img').length") == 0
    names = browser.value(ORDER.format(0))
    assert HOSTILE[0] in names and HOSTILE[1] in names
    assert "red\\x1b[31m\\nline\\u202egpj.mp4" in names and "\\udcff.mp4" in names


def test_the_policy_stops_what_is_not_the_pages_own(browser, report, tmp_path):
    """Were a name to get through as markup, it could do nothing: no script, no style, nothing from elsewhere."""
    let_in = (
        "<script>document.title='taken'</script><p style='color:red' onclick='alert(1)'>x</p><img src='file:///x.png'>"
    )
    changed = tmp_path / "changed.html"
    changed.write_text(report.read_text(encoding="utf-8").replace("</body>", f"{let_in}</body>"), encoding="utf-8")
    browser.problems.clear()
    browser.open(changed)
    assert browser.value("document.title") != "taken"
    assert len([said for said in browser.problems if "Content Security Policy" in said]) >= 3
    browser.problems.clear()


def test_the_page_of_a_run_has_the_same_style_and_no_script(browser, tmp_path):
    tables = Table(("a", "b"), (("<b>x</b>", "1"),))
    path = tmp_path / "run.html"
    path.write_text(
        render_sections(
            "Run: x", "what it means", {"threshold": 0.5}, [Section("Results", (tables,))], tmp_path, UNTRAINED
        )
    )
    browser.problems.clear()
    browser.look(400)
    browser.open(path)
    assert browser.value("document.documentElement.scrollWidth") <= 400
    assert browser.value("document.scripts.length") == 0 and browser.problems == []
    assert browser.value("document.querySelector('td').textContent") == "0.500"
