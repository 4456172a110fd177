"""The page in a headless Chromium, where there is one: no request, no error, sorting, switching, light."""

import time

import pytest
from chromium import EXECUTABLE, Page

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no chromium on PATH; test_report_page.py reads the page")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Page(tmp_path_factory.mktemp("browser")) as page:
        page.width(1000)
        yield page


def opened(browser, path):
    browser.events.clear()
    browser.open(path.as_uri())
    return browser


def complaints(browser) -> list:
    """Console messages, exceptions, violated policies."""
    kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [event["params"] for event in browser.events if event["method"] in kinds]


def requests(browser) -> set[str]:
    sent = [one["params"]["request"]["url"] for one in browser.events if one["method"] == "Network.requestWillBeSent"]
    return {url.split(":", 1)[0] if url.startswith("data:") else url for url in sent}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 400])
def test_no_complaint_no_request_and_no_overflow(browser, hostile_page, bounce_page, scheme, width):
    browser.width(width)
    browser.media(scheme)
    for path in (bounce_page, hostile_page):
        opened(browser, path)
        assert requests(browser) <= {path.as_uri(), "data"}
        assert complaints(browser) == []
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert browser.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    browser.width(1000)
    browser.media("light")


def test_hostile_names_run_nothing(browser, hostile_page):
    opened(browser, hostile_page)
    assert browser.evaluate("document.querySelectorAll('script').length") == 1
    assert browser.evaluate("document.images.length === document.querySelectorAll('.picture img').length")
    # What the policy forbids does not run, even where somebody writes it into the page.
    script = "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    browser.evaluate(script)
    assert browser.evaluate("window.ran") is None
    assert any("Content Security Policy" in str(one) for one in complaints(browser))


def test_tables_sort_by_number_and_by_name(browser, bounce_page):
    opened(browser, bounce_page)
    column = "[...document.querySelectorAll('#data tbody tr')].map((row) => row.cells[{}].textContent)"
    browser.evaluate("document.querySelectorAll('#data thead button')[1].click()")
    sizes = [int(n) for n in browser.evaluate(column.format(1))]
    assert sizes == sorted(sizes) and sizes[0] == 7
    assert browser.evaluate("document.querySelectorAll('#data th')[1].ariaSort") == "ascending"
    browser.evaluate("document.querySelectorAll('#data thead button')[1].click()")
    assert [int(n) for n in browser.evaluate(column.format(1))] == sizes[::-1]
    browser.evaluate("document.querySelectorAll('#data thead button')[0].click()")
    names = browser.evaluate(column.format(0))
    assert names == sorted(names)


def test_the_kind_of_interval_switches(browser, bounce_page):
    opened(browser, bounce_page)
    shown = (
        "[...new Set([...document.querySelectorAll('#intervals-2 .iv')]"
        ".filter((one) => getComputedStyle(one).display !== 'none').map((one) => one.classList[1]))].sort()"
    )
    assert browser.evaluate(shown) == ["k-bayes", "k-conditional", "k-separate", "k-total"]
    browser.evaluate("document.querySelector('#intervals-2 .pick-conditional').click()")
    assert browser.evaluate(shown) == ["k-conditional"]
    others = shown.replace("intervals-2", "intervals-1")
    assert len(browser.evaluate(others)) == 4


def test_a_group_under_the_pointer_lights_up_everywhere(browser, bounce_page):
    opened(browser, bounce_page)
    browser.evaluate("document.querySelector('#intervals-1').scrollIntoView({behavior: 'instant'})")
    place = browser.evaluate(
        "(() => { const r = document.querySelector('#intervals-1 .row rect').getBoundingClientRect();"
        " return [r.x + 60, r.y + r.height / 2]; })()"
    )
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    assert "cheshire" in browser.evaluate("document.getElementById('pointed').textContent")
    lit = browser.evaluate("[...document.querySelectorAll('tr.on')].map((row) => row.cells[0].textContent)")
    assert set(lit) == {"cheshire"} and len(lit) == 3
    assert browser.evaluate("document.querySelectorAll('g.on').length") == 3
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert browser.evaluate("document.querySelectorAll('.on').length") == 0


def test_the_accessibility_tree_has_names(browser, bounce_page):
    opened(browser, bounce_page)
    browser.send("Accessibility.enable")
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    by_role: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            role = node.get("role", {}).get("value", "")
            by_role.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    for role in ("heading", "table", "columnheader", "rowheader", "radio", "link", "button", "region", "image"):
        assert by_role.get(role) and all(by_role[role]), role
    assert "main" in by_role and "navigation" in by_role
    assert browser.evaluate(
        "[...document.querySelectorAll('math')].every((one) => one.getBoundingClientRect().width > 5)"
    )


def test_it_prints(browser, bounce_page, tmp_path):
    opened(browser, bounce_page)
    browser.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    # On paper dark is light, and nothing scrolls.
    browser.media("dark", "print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate(
        "[...document.querySelectorAll('.scroll')].every((e) => getComputedStyle(e).overflowX === 'visible')"
    )
    browser.media("light")


def test_the_slider_moves_the_lines(browser, bounce_page):
    opened(browser, bounce_page)
    heights = (
        "[...document.querySelectorAll('#motion .moving')].map((path) =>"
        " Number(path.getAttribute('d').split('L')[0].split(' ')[1]))"
    )
    at = "document.querySelector('#motion .stage.{}').getAttribute('d')"
    stages = [browser.evaluate(at.format(name)) for name in ("complete", "none")]
    last = browser.evaluate(heights)
    slide = (
        "(() => { const one = document.querySelector('#motion input'); one.value = %s;"
        " one.dispatchEvent(new Event('input')); })()"
    )
    for at_time, said in ((0, "complete pooling"), (1, "no pooling"), (0.5, "towards no pooling")):
        browser.evaluate(slide % at_time)
        assert browser.evaluate("document.querySelector('#motion output').textContent") == said
        if at_time != 0.5:
            first = float(stages[at_time].split("L")[0].split(" ")[1])
            assert browser.evaluate(heights)[0] == pytest.approx(first, abs=0.06)
    browser.evaluate(slide % 2)
    assert browser.evaluate(heights) == last
    # It plays, and stops.
    browser.evaluate("document.querySelector('#motion button').click()")
    assert browser.evaluate("document.querySelector('#motion button').textContent") == "Stop"
    browser.evaluate("document.querySelector('#motion button').click()")
    assert browser.evaluate("document.querySelector('#motion button').textContent") == "Play"


def test_many_groups_stay_quick(browser, many_page):
    """Each step takes milliseconds; one style rule that looks into all marks from each mark took minutes."""
    opened(browser, many_page)
    started = time.monotonic()
    browser.width(400)
    browser.evaluate("document.querySelector('#intervals-1 .pick-total').click(); document.body.offsetHeight")
    browser.evaluate("document.querySelectorAll('#shrinkage thead button')[2].click(); document.body.offsetHeight")
    browser.width(1000)
    browser.evaluate("document.body.offsetHeight")
    assert time.monotonic() - started < 60
