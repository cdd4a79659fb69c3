"""The coaching report in a real browser: `make test-page`."""

from __future__ import annotations

import json

import pytest

from tactful import report

SAID = {"precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 80}
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)> \u202e =1+1 '
HOSTILE += "\U0001f642 \u05e9\u05dc\u05d5\u05dd"


def written(folder, rows, now, **options):
    scored = folder / "scored.jsonl"
    scored.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return report.write(scored, folder / "report.html", now=now, **options)


@pytest.fixture(scope="module")
def full(tmp_path_factory, made_up, columns, now):
    """A report in which every part has something to show."""
    folder = tmp_path_factory.mktemp("full")
    rows = list(made_up(1500, 8))
    earlier = written(folder, rows[:700], now).json
    measured = folder / "evaluate.json"
    labels = dict.fromkeys(("apology", "next_step", "gratitude"), SAID)
    measured.write_text(json.dumps({"n": 900, "strategies": {"labels": labels}}))
    earlier = earlier.rename(folder / "earlier.json")
    return written(
        folder, rows, now, **columns, rank=True, evaluation=str(measured), reference=str(earlier)
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, made_up, columns, now):
    rows = list(made_up(300, 3))
    for row in rows:
        row["context"] = f"I am furious {HOSTILE}"
        row["reply"] += HOSTILE
        for name in ("agent", "team", "channel"):
            row[name] += HOSTILE
    folder = tmp_path_factory.mktemp("hostile")
    return written(folder, rows, now, **columns, rank=True, title=HOSTILE)


@pytest.fixture
def open_page(new_page):
    """Opens a report; at the end nothing may have been complained of, asked for or answered."""
    complaints = new_page.complaints

    def start(made, **options):
        page = new_page(**options)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on(
            "request",
            lambda r: None if r.url[:5] in ("file:", "data:") else complaints.append(r.url),
        )
        page.goto(made.page.as_uri())
        return page

    yield start
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["full", "hostile"])
def test_accessibility(open_page, axe, request, name, scheme):
    page = open_page(request.getfixturevalue(name), color_scheme=scheme)
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [
        (each["id"], each["impact"], each["nodes"][0]["html"]) for each in found["violations"]
    ] == []


def test_it_prints(open_page, full, tmp_path):
    page = open_page(full, color_scheme="dark")
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes()[:5] == b"%PDF-"
    page.emulate_media(media="print")
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (ink, paper) == ("rgb(32, 48, 46)", "rgb(255, 255, 255)")
    assert not page.locator("nav").is_visible()


def test_every_chart_is_drawn_and_follows_the_scheme(open_page, full):
    colours = []
    for scheme in ("light", "dark"):
        page = open_page(full, color_scheme=scheme)
        assert page.locator("svg.chart").count() == 6
        for chart in page.locator("svg.chart").all():
            assert chart.bounding_box()["height"] > 100
            assert chart.locator("title").text_content()
        text = page.locator("svg.chart text").first
        colours.append(text.evaluate("e => getComputedStyle(e).fill"))
    assert colours[0] != colours[1]


@pytest.mark.parametrize("name", ["full", "hostile"])
def test_a_phone_needs_no_sideways_scrolling(open_page, request, name):
    page = open_page(request.getfixturevalue(name), viewport={"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_hostile_text_is_text(open_page, hostile):
    page = open_page(hostile)
    assert page.locator("h1").text_content() == HOSTILE
    assert page.locator("script, img").count() == 0
    assert HOSTILE in page.locator("blockquote.customer .text").first.text_content()
    assert page.title() == HOSTILE


def test_the_contents_lead_to_every_part_by_keyboard(open_page, full):
    page = open_page(full, reduced_motion="reduce")
    links = page.locator("nav a")
    assert links.count() == page.locator("main > section").count()
    for link in links.all():
        link.focus()
        page.keyboard.press("Enter")
        part = page.locator(link.get_attribute("href"))
        assert part.bounding_box()["y"] < 900
