"""The playground in a real browser: `make test-page`."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

APOLOGY = "strategies/apology"


@pytest.fixture
def open_page(new_page, service):
    """Opens the page; at the end nothing may have been complained of in the console."""

    def start(url=service.url, **options):
        page = new_page(**options)
        page.goto(url)
        return page

    yield start
    assert [line for line in new_page.complaints if "Failed to load resource" not in line] == []


def write(page, reply, context=""):
    page.get_by_label("The customer's message").fill(context)
    page.get_by_label("The reply", exact=True).fill(reply)
    expect(page.locator("#text")).to_have_text(reply, use_inner_text=False, timeout=60_000)


def marked(page, key=APOLOGY):
    """The words that are highlighted for a label."""
    return page.evaluate(
        "key => [...document.querySelectorAll('#text mark')].filter(mark =>"
        " JSON.parse(mark.dataset.keys).includes(key)).map(mark => mark.textContent)",
        key,
    )


def lit(page):
    return page.locator("#text mark.on").all_text_contents()


def evidence(classifier, reply):
    [label] = [label for label in classifier.classify(reply).strategies if label.label == "apology"]
    return [span.text for span in label.evidence]


@pytest.mark.parametrize(
    "reply",
    [
        "I am so sorry, friend.",
        "🙂🙂 👩‍👩‍👧 \U0001d49c sorry 🎉, and thank you 🙏🏽 for your order.",
        "שלום, sorry, מה שלומך? وشكرا",
        "line one\n\n   sorry\tfriend\n",
    ],
    ids=["plain", "emoji", "right to left", "spaces"],
)
def test_the_words_that_carry_a_label_are_highlighted(open_page, classifier, reply):
    page = open_page()
    write(page, reply)
    assert "".join(marked(page)) == "".join(evidence(classifier, reply))
    assert page.locator("#text").evaluate("e => e.textContent") == reply


def test_typing_reads_after_a_pause_and_not_at_every_key(open_page):
    page = open_page()
    asked = []
    page.on("request", lambda request: asked.append(request) if "label" in request.url else None)
    page.get_by_label("The reply", exact=True).press_sequentially("thank you", delay=20)
    expect(page.get_by_role("button", name="gratitude")).to_be_visible(timeout=60_000)
    assert len(asked) < 4
    expect(page.get_by_role("status")).to_contain_text("strategies: gratitude")
    page.get_by_label("The reply", exact=True).fill("")
    expect(page.locator("#result")).to_be_hidden()


def test_scores_thresholds_tone_and_what_is_not_used_are_shown(open_page):
    page = open_page()
    write(page, "I am so sorry, friend.")
    expect(page.locator(".tone")).to_contain_text("warm")
    apology = page.get_by_role("button", name="apology")
    expect(apology).to_contain_text("%")
    assert apology.locator(".fill").evaluate("e => e.offsetWidth") > 0
    assert apology.locator(".tick").count() == 1
    expect(page.get_by_role("heading", name="It could also…")).to_be_visible()
    ideas = page.locator(".ideas li")
    assert sorted(ideas.locator(".name").all_text_contents()) == ["gratitude", "next step"]
    expect(ideas.first).to_contain_text("says ")
    page.get_by_text("All scores").click()
    assert page.locator("#scores li").count() == 5


def test_labels_of_other_sets_are_not_found_rather_than_suggested(open_page):
    page = open_page()

    def rename(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('"strategies"', '"emotions"'))

    page.route("**/v1/*", rename)
    page.reload()
    write(page, "I am so sorry, friend.")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    assert page.get_by_role("heading", name="It could").count() == 0
    names = page.locator(".ideas li .name").all_text_contents()
    assert sorted(names) == ["gratitude", "next step"]


@pytest.mark.parametrize("path", ["/tactful", "/tactful/"])
def test_it_works_under_a_path(open_page, serve, sound_bundle, path):
    own = serve(sound_bundle, "--root-path", "/tactful")
    asked = []
    page = open_page(own.url + path)
    page.on("request", lambda request: asked.append(request.url))
    write(page, "I am so sorry, friend.")
    assert f"{own.url}/tactful/v1/label" in asked
    expect(page.get_by_role("link", name="openapi.json")).to_have_attribute(
        "href", "openapi.json" if path.endswith("/") else "tactful/openapi.json"
    )


def test_pointing_at_a_label_lights_its_words_and_a_click_keeps_them_lit(open_page):
    page = open_page()
    write(page, "sorry, thank you")
    apology, gratitude = (page.get_by_role("button", name=n) for n in ("apology", "gratitude"))
    apology.hover()
    assert "sorry" in "".join(lit(page))
    assert "thank" not in "".join(lit(page))
    gratitude.hover()
    assert "thank" in "".join(lit(page))
    page.mouse.move(0, 0)
    assert lit(page) == []
    apology.click()
    expect(apology).to_have_attribute("aria-pressed", "true")
    page.mouse.move(0, 0)
    assert "sorry" in "".join(lit(page))
    page.keyboard.press("Escape")
    assert lit(page) == []
    page.locator("#text mark").first.hover()
    assert page.locator(".strategy.on").count() >= 1


def test_an_example_fills_both_boxes_and_is_read(open_page):
    page = open_page()
    page.get_by_role("button", name="Cheerful").click()
    expect(page.locator("#result")).to_be_visible(timeout=60_000)
    assert page.get_by_label("The customer's message").input_value()
    assert "🎧" in page.locator("#text").text_content()


def test_everything_can_be_done_with_the_keyboard(open_page):
    page = open_page()
    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", names
    assert names[0] == "Skip to the reading"
    assert names[1:3] == ["context", "reply"]
    page.get_by_role("button", name="Warm and helpful").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result")).to_be_visible(timeout=60_000)
    apology = page.get_by_role("button", name="apology")
    apology.focus()
    assert "sorry" in "".join(lit(page))
    page.keyboard.press("Space")
    expect(apology).to_have_attribute("aria-pressed", "true")


def test_what_is_not_the_agents_is_grey_and_told(open_page):
    page = open_page()
    write(page, "The parcel is late, sorry 🙂\n> thank you so much")
    expect(page.locator("#text .left-out")).to_have_text("> thank you so much")
    expect(page.get_by_text("it is not the agent's words: a quoted message")).to_be_visible()
    expect(page.locator("#doubtful")).to_be_hidden()
    write(page, "Es tut mir leid, das Paket kommt morgen an.")
    expect(page.locator("#doubtful")).to_be_visible()
    expect(page.locator("#left-out")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(open_page, scheme):
    page = open_page(viewport={"width": 375, "height": 800}, color_scheme=scheme)
    write(page, "sorry " + "averylongwordwithoutanyspace" * 10)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    small = page.evaluate(
        "[...document.querySelectorAll('button, textarea')].filter(e => e.offsetHeight"
        " && e.offsetHeight < 24).length"
    )
    assert small == 0


def test_dark_mode_is_dark(open_page):
    page = open_page(color_scheme="dark")
    red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert int(red) < 60


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1200])
def test_axe_finds_no_violation(open_page, axe, scheme, width):
    # The page's policy would refuse a foreign script.
    page = open_page(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        bypass_csp=True,
        reduced_motion="reduce",
    )
    write(page, "I am so sorry, friend. Thank you.", "my parcel is late")
    page.get_by_text("All scores").click()
    page.get_by_role("button", name="apology").click()
    page.wait_for_timeout(300)
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',"
        " 'best-practice']})"
    )
    told = [(v["id"], [node["html"] for node in v["nodes"]]) for v in found["violations"]]
    assert told == []


@pytest.mark.parametrize(
    "attack",
    [
        "<script>window.ran = 1</script> sorry",
        "sorry <img src=x onerror='window.ran = 1'>",
        "<svg onload=window.ran=1> sorry <b>friend</b>",
        "sorry javascript:window.ran=1 {{7*7}} ${window.ran=1}",
    ],
)
def test_a_reply_is_text_and_never_runs(open_page, attack):
    page = open_page()
    write(page, attack, attack)
    page.get_by_role("button", name="apology").click()
    assert page.evaluate("window.ran") is None
    assert page.locator("#text").evaluate("e => e.textContent") == attack
    assert page.locator("#text").evaluate(
        "e => [...e.children].every(child => child.matches('mark, .left-out'))"
    )


def test_the_policy_lets_nothing_else_run(open_page, new_page):
    page = open_page()
    policy = page.request.get(page.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    with pytest.raises(Exception, match="Trusted"):
        page.evaluate("document.body.innerHTML = '<b>x</b>'")
    page.evaluate(
        "() => { const s = document.createElement('style'); s.textContent = 'body{opacity:0}';"
        " document.head.append(s); }"
    )
    assert page.evaluate("getComputedStyle(document.body).opacity") == "1"
    assert any("Content Security Policy" in line for line in new_page.complaints)
    new_page.complaints.clear()


def test_a_service_that_is_gone_or_busy_is_told_readably(open_page, serve, sound_bundle):
    own = serve(sound_bundle)
    page = open_page(own.url)
    write(page, "sorry")
    busy = '{"code": "queue_full", "title": "Too much", "detail": "full"}'
    page.route(
        "**/v1/label",
        lambda route: route.fulfill(
            status=429,
            headers={"Retry-After": "1"},
            body=busy,
            content_type="application/problem+json",
        ),
    )
    page.get_by_label("The reply", exact=True).fill("sorry again")
    expect(page.get_by_role("alert")).to_contain_text("Trying again in 1 s")
    page.unroute("**/v1/label")
    expect(page.locator("#text")).to_have_text("sorry again", timeout=60_000)
    expect(page.get_by_role("alert")).to_be_hidden()
    own.stop()
    page.get_by_label("The reply", exact=True).fill("sorry once more")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")


def test_a_token_can_be_given(open_page, serve, sound_bundle):
    own = serve(sound_bundle, TACTFUL_TOKEN="a-token")
    page = open_page(own.url)
    page.get_by_label("The reply", exact=True).fill("sorry")
    expect(page.get_by_role("alert")).to_contain_text("access token")
    page.get_by_label("Access token").fill("a-token")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="apology")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_text_that_is_too_long_is_told_readably(open_page):
    page = open_page()
    page.get_by_label("The reply", exact=True).fill("x" * 2500)
    expect(page.get_by_role("alert")).to_contain_text("2500 characters, allowed: 2000")


def test_a_label_can_be_disagreed_with_where_the_service_stores_it(
    open_page, serve, sound_bundle, tmp_path
):
    file = tmp_path / "feedback.jsonl"
    page = open_page(serve(sound_bundle, "--feedback", str(file)).url)
    expect(page.locator("#stores")).to_be_visible(timeout=60_000)
    expect(page.locator("#hint")).not_to_contain_text("Nothing is stored")
    write(page, "I am so sorry, friend.", "my parcel is late")
    page.get_by_role("button", name="This is wrong: apology").click()
    expect(page.get_by_role("button", name="Noted, thank you")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="It does: gratitude").click()
    expect(page.get_by_role("button", name="Noted, thank you")).to_have_count(2, timeout=60_000)
    tones = page.get_by_label("Tone is rather")
    tones.select_option(index=1)
    expect(tones).to_be_disabled(timeout=60_000)
    expect(page.locator("#status")).to_have_text("Noted, thank you", timeout=60_000)
    first, second, third = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert (first["reply"], first["context"]) == ("I am so sorry, friend.", "my parcel is late")
    assert "apology" in first["read"]["strategies"]
    assert "apology" not in first["labels"]["strategies"]
    assert set(second["labels"]["strategies"]) == {*first["labels"]["strategies"], "gratitude"}
    assert third["labels"]["tone"] != third["read"]["tone"]


def test_without_feedback_nothing_asks_for_it(open_page):
    page = open_page()
    write(page, "I am so sorry, friend.")
    expect(page.locator("#stores")).to_be_hidden()
    expect(page.get_by_role("button", name="This is wrong")).to_have_count(0)
