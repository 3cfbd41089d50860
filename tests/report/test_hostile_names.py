"""Names from outside are shown as they are written, wherever they can appear, and nothing obeys them."""

import csv
import io
import random
import re
from html import unescape
from html.parser import HTMLParser

import polars as pl
from matplotlib.text import Text as Drawn
from rich.console import Console
from support.scored import HOSTILE, batch, page

from facedep_jax.cli.terminal.progress_displays import PatientConsole, write_line
from facedep_jax.cli.terminal.tables import facts_table, plain_table, say, show_lines, show_table
from facedep_jax.report.document import BulletList, Section, Table
from facedep_jax.report.html import render_sections
from facedep_jax.report.markdown import from_markdown, to_markdown
from facedep_jax.report.run_plots import figure, in_font, save
from facedep_jax.runs.csv_and_json import read_written
from facedep_jax.scoring.score_tables import write_tables
from facedep_jax.text_columns import write_csv
from facedep_jax.text_escaping import FORMULA, as_text

PIECES = (
    *HOSTILE, "\x1b[2J", "\x1b]8;;http://evil.example\x07here\x1b]8;;\x07", "\x1b]52;c;cm0gLXJmIH4=\x07", "\x9b31m",
    "[bold red]", "[/]", "[link=http://evil.example]", "[@click=app.quit]", "\u202egnp.exe", "\u2066\u2069", "\u200f",
    "<script>alert(1)</script>", "\"><img src=x onerror='alert(1)'>", "{{7*7}}", "{% raw %}", "</title>", "&lt;b&gt;",
    "[click](http://evil.example)", "![](http://evil.example/x.png)", "[a]: http://evil.example", "`code`", "|", "b\\",
    "$\\frac{1}{0}$", "$$", "$x_{", "%$#&_~", "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "＝1", "'=1", ',"',
    "\x00", "\r\n", "\u2028", "\ud800", "\udcff", "\ufeff", "é\u0301", "日本", "", " ", "x" * 300,
)  # fmt: skip


def hostile(count=2000, seed=1):
    """So many different names, of one to four pieces, the first with all pieces by themselves."""
    rng = random.Random(seed)
    names = dict.fromkeys(PIECES)
    while len(names) < count:
        names["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 4)))] = None
    return list(names)[:count]


NAMES = hostile()
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # what rich itself writes to a terminal


def test_terminals_obey_nothing(capsys):
    shown = io.StringIO()
    console = PatientConsole(file=shown, force_terminal=True, width=400, color_system="truecolor")
    table = plain_table(NAMES[0], "name", NAMES[1], names=("name",))
    facts = facts_table(NAMES[2], [(name, name) for name in NAMES])
    for name in NAMES:
        table.add_row(name, name)
        say(console, name)
        write_line(name)
    show_lines(console, NAMES)
    show_table(console, table)
    show_table(console, plain_table("", *NAMES[:60], names=()))
    console.print(facts)
    narrow = Console(file=shown, force_terminal=True, width=10)
    show_table(narrow, table)
    for text in (COLOUR.sub("", shown.getvalue()), capsys.readouterr().err):
        assert not UNSEEN.search(text), UNSEEN.search(text)
    for written in ("[bold red]", "[link=http://evil.example]", "[@click=app.quit]"):
        assert shown.getvalue().count(written) >= 3  # as it stands, in lines and cells


def test_cells_are_no_formulas_and_come_back(tmp_path):
    text = [as_text(name) for name in NAMES if name and "\ud800" not in name]
    frame = pl.DataFrame({"name": text})
    write_csv(tmp_path / "rows.csv", frame)
    assert read_written(tmp_path / "rows.csv")["name"].to_list() == text
    wide = pl.DataFrame({name: ["x"] for name in text})
    write_csv(tmp_path / "wide.csv", wide)
    for file in ("rows.csv", "wide.csv"):
        with open(tmp_path / file, newline="", encoding="utf-8") as stream:
            for row in csv.reader(stream):
                assert not [cell for cell in row if cell.startswith(tuple(set(FORMULA) - {"'"}))]


def test_markdown_says_them_and_links_nowhere():
    cells = Table(("name", "twice"), tuple((name, name) for name in NAMES), NAMES[3], NAMES[4])
    written = to_markdown(NAMES[0] or "x", [Section(NAMES[1], (cells, BulletList(tuple(NAMES))))])
    assert not UNSEEN.search(written) and not re.search(r"<|\]\(|\]\[|\]:|`", written)
    (bullets,) = (
        block for section in from_markdown(written)[1] for block in section.blocks if isinstance(block, BulletList)
    )
    assert list(bullets.points) == [shown_in_markdown(name) for name in NAMES]


def shown_in_markdown(name):
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text.append(data)


def parsed(text):
    parser = Elements()
    parser.feed(text)
    return parser


def test_pages_have_no_elements_but_their_own(tmp_path):
    def render(names):
        table = Table(("name", "again"), tuple((name, name) for name in names), names[0], names[0])
        facts = {name: name for name in names}
        sections = [Section(name, (table, BulletList(tuple(names)), name)) for name in names[:5]]
        return parsed(render_sections(names[0], names[0], facts, sections, tmp_path, names[0]))

    plain, found = render([f"n{i}" for i in range(60)]), render(NAMES)
    assert found.tags == plain.tags and found.attributes == plain.attributes
    assert any("<script>alert(1)</script>" in text for text in found.text)
    scored = parsed(page(batch(20), faces=True))
    assert not {name for name in scored.attributes if name.startswith("on")}
    assert not UNSEEN.search(unescape("".join(found.text)))


def test_pictures_take_no_name_for_a_formula(tmp_path, exhaustive):
    drawn, (axis,) = figure(4, 4)
    for name in NAMES if exhaustive else NAMES[:300]:
        axis.text(0, 0, in_font(name), in_layout=False)
    axis.set_title("$x_{")
    axis.set_yticks([0, 1], ["$x_{", "$\\frac{1}{0}$"])
    save(drawn, tmp_path / "a.png")
    assert not [text for text in drawn.findobj(Drawn) if text.get_parse_math()]
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_scores_of_clips_with_such_names_are_tables_that_say_them(tmp_path):
    scored = batch(20)
    write_tables(tmp_path, scored, "")
    with open(tmp_path / "clips.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(scored)
    for cell in (cell for row in rows for cell in row.values()):
        assert not UNSEEN.search(cell) and (not cell.startswith(("=", "+", "@")) or cell.startswith("'"))
