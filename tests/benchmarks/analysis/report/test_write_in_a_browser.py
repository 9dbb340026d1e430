"""The report as a reader sees it: in headless Chromium, wide and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from matplotlib.textpath import TextPath

from browser import Page, chromium
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.suites.sections import Claim
from synthetic import make_suite, write_probes, write_results

# A browser is a package of the system, not of Python: where it is missing nothing can be installed for it.
pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs chromium and chromedriver: Debian's packages chromium and chromium-driver",
)


POINTS = {task: {"arms": ["ppo", "grpo"], "tasks": [task]} for task in ("recall", "sorting")}
CLAIM = Claim.model_validate(
    {"says": "GRPO ends higher.", "here": "Its final pass rate is the higher one.", "measure": "final_score"}
    | {"arms": ["ppo", "grpo"], "tasks": ["recall", "sorting"], "side": "above", "than": 0, "margin": 0.05}
    | {"dial": {"setting": "task", "points": POINTS}}
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    suite = make_suite(tasks=("recall", "sorting"), updates=8, prompts=16).model_copy(update={"claims": {"S": CLAIM}})
    folder = write_results(tmp_path_factory.mktemp("core"), suite)
    write_probes(folder)
    return write.write(load(folder), folder / "report")


@pytest.fixture(scope="module", params=[(390, 844), (1400, 900)], ids=["phone", "wide"])
def page(written: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    with chromium(*request.param) as opened:
        opened.open(written)
        yield opened


def test_nothing_is_an_error_in_the_console(page: Page) -> None:
    assert page.errors() == []
    page.ask("console.error('seen')")
    assert len(page.errors()) == 1  # or the line above could not fail


def test_every_figure_is_visible_and_described(page: Page) -> None:
    seen = "i => [i.querySelectorAll('text').length, i.getBoundingClientRect().height, i.ariaLabel]"
    figures = page.ask(f"return [...document.querySelectorAll('.picture svg')].map({seen})")
    assert len(figures) == 10
    assert [height for _, height, _ in figures].count(0) == 1  # the forest plot has a shape for either width
    for texts, height, alt in figures:
        assert texts > 3
        assert height > 100 or height == 0
        assert len(alt) > 40


def test_figures_are_lettered_in_the_font_that_they_were_laid_out_for(page: Page) -> None:
    """A text is as wide as matplotlib took it to be: its font came with the page."""
    assert page.ask("return [...document.fonts].map(f => [f.family, f.weight, f.status])") == [
        ["DejaVu Sans", "normal", "loaded"],
        ["DejaVu Sans", "bold", "loaded"],
    ]
    text, width = page.ask(
        "const texts = [...document.querySelectorAll('#overview text')];"
        "const caption = texts.find(t => t.textContent.includes(' · report '));"
        "return [caption.textContent, caption.getComputedTextLength()]"
    )
    with matplotlib.rc_context(style.STYLE):
        path = TextPath((0, 0), text, size=style.FONT)
    assert width == pytest.approx(path.get_extents().width, rel=0.03)


def test_no_page_scrolls_sideways(page: Page) -> None:
    wide, width = page.ask("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= width
    boxes = page.ask("return [...document.querySelectorAll('.scroll')].map(e => e.getBoundingClientRect().right)")
    assert max(boxes) <= width


def bottom(page: Page, selector: str) -> float:
    """How far below the page's top what is shown of a selector ends, in pixels."""
    page.ask("window.scrollTo(0, 0)")
    boxes = "return [...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect().bottom)"
    return float(max(page.ask(boxes, selector)))


def test_the_first_screen_answers_shows_and_counts_the_cost(page: Page) -> None:
    """The sentence and the plot on both screens; costs and what was not tested on the wide one, and next on a phone."""
    width, height = page.ask("return [window.innerWidth, window.innerHeight]")
    order = ["h1", "#answer figure svg", "#answer table", "#answer ul.plain"]
    ends = [bottom(page, selector) for selector in order]
    assert 0 < ends[0] < ends[1] < height
    assert ends == sorted(ends)
    assert width == 390 or ends[-1] < height
    words = page.ask(
        "return [...arguments[0]].map(s => document.querySelector(s).textContent)", ["h1", "#answer table"]
    )
    assert "95% interval" in words[0]
    assert "seconds per 1,000 completions" in words[1]


def test_then_come_claims_with_a_plot_of_each_and_verdicts(page: Page) -> None:
    leads = page.ask("return [...document.querySelectorAll('main > section')].slice(0, 5).map(s => s.id)")
    assert leads == ["answer", "about", "claims", "verdicts", "summary"]
    words = page.ask("return document.querySelector('#claims tbody').textContent")
    assert any(verdict in words for verdict in ("supported", "refuted", "inconclusive"))
    (drawn,) = page.ask(
        "return [...document.querySelectorAll('#claims svg circle')].map(c => c.getBoundingClientRect().width)"
    )
    assert drawn > 5


COLUMN = """
const table = document.querySelector(`#${arguments[0]} table.sortable`), head = table.tHead.rows[0].cells;
const at = [...head].findIndex(h => h.textContent.trim() === arguments[1]);
if (arguments[2]) { const b = head[at].querySelector('button'); b.focus(); b.click(); }
return [[...table.tBodies[0].rows].map(r => r.cells[at].textContent.trim()), head[at].getAttribute('aria-sort')];
"""


def test_a_columns_button_sorts_its_table(page: Page) -> None:
    before, unsorted = page.ask(COLUMN, "summary", "final mean", False)
    assert unsorted is None
    up, state = page.ask(COLUMN, "summary", "final mean", True)
    assert (up, state) == (sorted(before, key=float), "ascending")
    down, state = page.ask(COLUMN, "summary", "final mean", True)
    assert (down, state) == (sorted(before, key=float, reverse=True), "descending")
    words, _ = page.ask(COLUMN, "summary", "task", True)
    assert words == sorted(words)
    assert page.ask(COLUMN, "summary", "final mean", False)[1] is None  # only one column is the sorted one


def test_numbers_sort_by_size_and_what_does_not_exist_comes_last(page: Page) -> None:
    cells = ["10", "-", "9", "1,000"]
    page.ask(
        "const rows = document.querySelector('#summary table.sortable').tBodies[0].rows;"
        "arguments[0].forEach((text, i) => { rows[i].cells[0].textContent = text; });",
        cells,
    )
    name = page.ask("return document.querySelector('#summary th').textContent.trim()")
    page.ask("document.querySelector('#summary th').removeAttribute('aria-sort')")
    assert page.ask(COLUMN, "summary", name, True)[0] == ["9", "10", "1,000", "-"]
    assert page.ask(COLUMN, "summary", name, True)[0] == ["1,000", "10", "9", "-"]


def test_the_keyboard_reaches_every_table_and_button(page: Page) -> None:
    reachable = "return [...document.querySelectorAll('.scroll, th button, summary, a')].map(e => e.tabIndex)"
    assert set(page.ask(reachable)) == {0}
    sizes = page.ask(
        "return [...document.querySelectorAll('th button')].filter(b => b.offsetParent).map(b => b.offsetHeight)"
    )
    assert min(sizes) > 0


def test_dark_and_light_have_readable_text(page: Page) -> None:
    contrasts = []
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        style = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
        ink, paper = (sum(int(n) for n in text[4:-1].split(",")) for text in page.ask(style))
        contrasts.append(paper - ink)
    assert contrasts[0] > 450
    assert contrasts[1] < -450
