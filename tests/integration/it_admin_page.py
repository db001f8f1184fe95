#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Goal of this test: in a browser the status page says what is wrong and where, complete without
JavaScript, refreshes itself with it, and respects its policy, narrow screens and dark mode."""

import json
import re
import sys

sys.path.insert(0, sys.path[0] + "/../support")
from kaptest import ReservedPort, chromium, main, status_samples as samples, test, wait_until
from kaptest.http import HttpUpstream, one_shot, response, start
from kaptest.page_server import PageServer, write_page

# Of all visible texts, those with too little contrast to their background (WCAG 2, 1.4.3).
LOW_CONTRAST = """(() => {
    const parse = color => (color.match(/[\\d.]+/g) || []).map(Number);
    const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const luminance = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
    const ground = element => {
        for (; element; element = element.parentElement) {
            const color = parse(getComputedStyle(element).backgroundColor);
            if (color.length < 4 || color[3] === 1) return color;
            if (color[3] > 0) throw new Error("translucent");
        }
        return [255, 255, 255];
    };
    const found = [];
    let texts = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.getClientRects().length ||
            element.closest("svg, #news, caption")) continue;
        texts++;
        const pair = [getComputedStyle(element).color, ground(element).join()];
        const [light, dark] = pair.map(c => luminance(parse(c))).sort((a, b) => b - a);
        const contrast = (light + 0.05) / (dark + 0.05);
        if (contrast < 4.5)
            found.push(`${element.tagName} ${walker.currentNode.data.trim()} ${contrast}`);
    }
    return {texts, found};
})()"""

OPEN_ALL = "document.querySelectorAll('details').forEach(d => d.open = true)"


def serve(t, status):
    """Serves the page of a status: has .url, and .status, which may be changed."""
    return t.own(PageServer(status))


def row_of(page, upstream):
    """The texts of a host's row, by column, and all of it."""
    return page.evaluate(f"""(() => {{
        const body = Array.from(document.querySelectorAll("#hosts tbody")).find(
            b => b.querySelector(".name").textContent === {json.dumps(upstream)});
        const cells = Array.from(body.querySelectorAll("td[data-title]"),
                                 c => [c.dataset.title, c.textContent.replace(/\\s+/g, " ")]);
        return {{...Object.fromEntries(cells), all: body.textContent, id: body.id}};
    }})()""")


def bars_of(page, selector):
    """Of each part its width on the screen, as a share of the limit's."""
    return page.evaluate(f"""(() => {{
        const bar = document.querySelector({json.dumps(selector)});
        const width = rect => rect.getBoundingClientRect().width;
        const limit = width(bar.querySelector(".track"));
        return Object.fromEntries(Array.from(bar.querySelectorAll("rect:not(.track)"),
            rect => [rect.className.baseVal, Math.round(100 * width(rect) / limit)]));
    }})()""")


def check_fits(t, page):
    t.at_most(page.evaluate("document.documentElement.scrollWidth"), page.width, "the page's width")


@test("each problem is shown on top, and leads to its row, which shows it")
def problems(t):
    status = samples.faults()
    server = serve(t, status)
    page = chromium.start(t).open(server.url)
    t.equal(page.evaluate("document.title"), "7 problems - kaproxy", "title")
    t.equal(page.text("h1"), "7 problems", "headline")
    t.equal(page.texts("#problems li b"), [p["severity"] for p in status["problems"]], "severities")
    t.equal(page.texts("#problems li .text"), [p["text"] for p in status["problems"]], "texts")
    t.check(page.evaluate("document.querySelector('main').firstElementChild.id") == "problems",
            "problems come first")
    slow, small, gone, expired = (row["upstream"] for row in status["hosts"])
    for code, upstream in (("upstream_down", gone), ("certificate_expired", expired),
                           ("clients_waiting", small), ("upstream_slow", slow)):
        link = page.evaluate(f"Array.from(document.querySelectorAll('#problems a')).find("
                             f"a => a.textContent === '{code}').getAttribute('href')")
        t.equal(link, "#" + row_of(page, upstream)["id"], f"where {code} leads")
    row = row_of(page, gone)
    t.check("down for 3 min" in row["all"], row["all"])
    t.check("Last error 9 s ago: connect: Connection refused" in row["all"], row["all"])
    row = row_of(page, small)
    t.equal((row["Waiting"], row["Failures/s"], row["Wait p50"], row["Wait p99"]),
            ("40 oldest 12 s", "1.5", "3 s", "11 s"), "the pool that is too small")
    t.equal(row["Connections"].count("7 busy, 1 connecting of 8; 40 waiting"), 2, "title and text")
    t.check("paused" in row_of(page, expired)["all"], "it is paused")
    t.equal(bars_of(page, "#hosts tbody:nth-of-type(2) svg"),
            {"busy": 88, "connecting": 12, "waiting": 25}, "the bar of the second one")
    t.equal(bars_of(page, "#hosts tbody:nth-of-type(4) svg"), {"busy": 25, "idle": 50}, "the last")
    t.check("alloc_failed\u00a08.0k" in page.evaluate("listeners.textContent"), "ends of a listener")
    t.check(re.search("Access log lines lost ?120k", page.text("#process")), "lines lost")
    check_fits(t, page)
    t.equal(page.complaints(), [], "errors, violations of the policy")
    t.equal(set(server.requests), {"/", "/style.css", "/page.js"}, "what was asked for")


@test("nothing is wrong: one line; and texts may contain anything")
def calm(t):
    server = serve(t, samples.calm())
    browser = chromium.start(t)
    page = browser.open(server.url)
    t.equal(page.text("#problems"), "No problems", "what is wrong")
    t.equal(page.evaluate("document.title"), "No problems - kaproxy", "title")
    t.equal(page.text("#about h2"), "kaproxy 0.1.0", "the user")
    t.check(page.text("#about p").startswith("serving, up 3 d 2 h, process 4711, /etc/kaproxy.ini, read 20"),
            page.text("#about p"))
    t.equal(page.evaluate("[document.documentElement.lang, document.querySelectorAll('h1').length,"
                          " document.querySelectorAll('th:not([scope])').length,"
                          " document.querySelectorAll('[style]').length]"), ["en", 1, 0, 0], "form")
    t.equal(page.evaluate("document.querySelector('link[rel=icon]').getAttribute('href')"), "data:,",
            "an icon that is not requested")
    server.status = samples.nasty()
    page.go(server.url)
    t.equal(page.evaluate("document.title"), "7 problems - kaproxy", "title")
    t.equal(page.evaluate("[document.querySelectorAll('img, main script').length,"
                          " document.querySelectorAll('main').length,"
                          " document.querySelectorAll('#hosts tbody').length]"), [0, 1, 4], "form")
    shown = page.evaluate("document.body.textContent")
    for text in samples.NASTY:
        if all(" " <= character for character in text) and "\u202e" not in text:
            t.check(text in shown, f"{text!r} is not shown")
    t.equal(re.findall("[\0\x07\u202e]", shown), [], "what cannot be seen")
    for width in 360, 1280:
        page.resize(width, 800)
        check_fits(t, page)
    t.equal(page.complaints(), [], "errors, violations of the policy")


@test("it refreshes without being loaded again, and keeps place, focus and open parts")
def refresh(t):
    status = samples.faults()
    server = serve(t, status)
    page = chromium.start(t).open(server.url, height=300)
    page.evaluate("window.isSame = true")
    page.evaluate("document.querySelector('#listeners details').open = true;"
                  "document.querySelector('#listeners summary').focus(); scrollTo(0, 500)")
    opened = page.evaluate("document.querySelector('details[open]').id")
    status["kaproxy"]["now"] += 7
    status["problems"] = status["problems"][:1]
    server.status = status
    page.wait("document.querySelector('time:last-of-type').textContent.endsWith(':47 UTC')",
              "the refresh, two seconds after the start")
    t.equal(page.evaluate("[window.isSame, scrollY]"), [True, 500], "the same page, and its place")
    t.equal(page.evaluate("document.title"), "1 problem - kaproxy", "title")
    t.equal(page.evaluate("Array.from(document.querySelectorAll('details[open]'), d => d.id)"),
            [opened], "what is open")
    t.equal(page.evaluate("document.activeElement.parentElement.id"), opened, "focus")
    t.check(page.text("#news").startswith("1 problem. http://10.0.0.13:8080 is down"),
            f"read out: {page.text('#news')}")
    page.press_enter()
    t.equal(page.evaluate("refresh().then(() => document.querySelectorAll('details[open]').length)"),
            0, "what was closed stays closed")

    # While it is hidden, paused or has a selection it is not changed.
    page.wait("!isUnderWay && Object.defineProperty(document, 'hidden', {value: true,"
              " configurable: true}) && true", "a moment between two refreshes")
    asked = server.count()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait("!isUnderWay", "the end of a refresh, if there was one")
    page.evaluate("refresh()")
    t.equal(server.count(), asked, "requests while hidden")
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false});"
                  "document.dispatchEvent(new Event('visibilitychange'))")
    wait_until(lambda: server.count() > asked, "a request once it is seen again")
    page.wait("!isUnderWay", "its end")
    page.evaluate("document.getElementById('pause').click()")
    t.equal(page.evaluate("refresh().then(() => pause.textContent)"), "Go on", "the button")
    status["kaproxy"]["now"] += 7
    page.evaluate("pause.click()")
    page.wait("document.querySelector('time:last-of-type').textContent.endsWith(':54 UTC')", "the refresh")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#problems li'))")
    status["kaproxy"]["now"] += 1
    page.wait("hint.textContent", "what is said while text is selected")
    t.check(page.text("time:last-of-type").endswith(":54 UTC"), "no refresh")
    t.equal(page.evaluate("[window.isSame, document.getElementById('stale').hidden]"), [True, True],
            "the same page")
    t.equal(page.complaints(), [], "errors, violations of the policy")


@test("a server that fails, and one that is gone: since when the figures are old")
def gone(t):
    server = serve(t, samples.calm())
    page = chromium.start(t).open(server.url)
    t.equal(page.evaluate("stale.hidden"), True, "the notice")
    server.failure = 503
    page.evaluate("refresh()")
    page.wait("stale.textContent.includes('answers with status 503')", "the notice")
    server.failure = None
    page.evaluate("refresh()")
    page.wait("stale.hidden", "its end")
    server.close()
    page.evaluate("refresh()")
    page.wait("!stale.hidden", "the notice")
    t.check(re.match(r"kaproxy does not answer: these figures are of \d+:\d\d:\d\d.* They are \d+ s",
                     page.text("#stale")), page.text("#stale"))
    t.equal(page.text("h1"), "No problems", "what was there")
    t.equal([c for c in page.complaints() if "Failed to load resource" not in c], [], "other errors")


@test("without JavaScript it is complete, and reloads automatically")
def plain(t):
    status = samples.faults()
    server = serve(t, status)
    page = chromium.start(t).open(server.url, scripts=False)
    t.equal(page.texts("#problems li .text"), [p["text"] for p in status["problems"]], "texts")
    t.equal(len(page.texts("#hosts tbody")), 4, "rows")
    t.equal(page.evaluate("pause.hidden"), True, "a useless button")
    t.equal(page.evaluate("document.querySelector('meta[http-equiv=refresh]').content"), "5",
            "when it is loaded again")
    # Its number of seconds is not waited for.
    t.equal(page.complaints(), [], "errors, violations of the policy")


@test("at 360 pixels, and on paper, nothing is wider than the page; contrast in light and dark")
def screens(t):
    server = serve(t, samples.faults())
    page = chromium.start(t).open(server.url)
    page.evaluate(OPEN_ALL)
    for dark in False, True:
        page.set_dark(dark)
        grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
        t.equal(grounds, "rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)", "ground")
        for width in 360, 800, 1280:
            page.resize(width, 800)
            check_fits(t, page)
            contrast = page.evaluate(LOW_CONTRAST)
            t.equal(contrast["found"], [], f"texts of low contrast, dark: {dark}")
            t.at_least(contrast["texts"], 200, "texts checked")
    page.resize(360, 800)
    t.check(page.evaluate("getComputedStyle(document.querySelector('#hosts tbody td'), '::before')"
                          ".content") == '"Connections"', "a card's titles")
    t.equal(page.evaluate("Array.from(document.querySelectorAll('#hosts th .name')).filter("
                          "e => e.getBoundingClientRect().right > innerWidth).length"), 0, "names")
    page.command("Emulation.setEmulatedMedia", media="print")
    check_fits(t, page)
    t.equal(page.evaluate("getComputedStyle(document.querySelector('footer')).display"), "none",
            "what is useless on paper")
    t.equal(page.complaints(), [], "errors, violations of the policy")


def url_of(kaproxy):
    """Where the real program's page is."""
    address = re.search(r"\[admin\]\nlisten = (.*)", kaproxy.file.read_text())[1]
    return f"http://{address}/"


@test("the real program's page: served, an upstream that goes down, the end")
def real(t):
    port = t.own(ReservedPort())
    upstream = t.own(HttpUpstream(lambda connection, message: response(b"x")))
    kaproxy = start(t, upstream, pool={"fail_after": 1}, more={
        "admin": {"listen": "127.0.0.1:{port}"},
        "listener gone": {"listen": "127.0.0.1:{port}",
                          "upstream": port.endpoint.replace("tcp", "http")}})
    t.equal(one_shot(t, kaproxy).status, 200, "status")
    page = chromium.start(t).open(url_of(kaproxy))
    t.equal(page.text("h1"), "No problems", "headline")
    t.check(f"process {kaproxy.process.pid}, {kaproxy.file}, read " in page.text("#about"),
            page.text("#about"))
    row = row_of(page, upstream.endpoint.replace("tcp", "http"))
    t.check("1 idle of " in row["Connections"], f"{row}")
    t.check(re.search("grants ?none\u00a01", row["all"]), f"{row}")
    t.equal(one_shot(t, kaproxy, listener="gone").status, 502, "status")
    page.wait("refresh().then(() => document.title.startsWith('1 problem'))", "the problem")
    t.equal(page.texts("#problems .code"), ["upstream_down"], "code")
    # Texts arrive from the loop, once a second.
    target = page.evaluate("document.querySelector('#problems a').getAttribute('href')")
    page.wait(f"refresh().then(() => /down for .* connect: ?Connection refused/.test("
              f"document.querySelector('{target}').textContent.replace(/\\s+/g, ' ')))", "its row")
    t.equal(page.texts("#listeners .name"), ["main", "gone"], "listeners")
    check_fits(t, page)
    contrast = page.evaluate(LOW_CONTRAST)
    t.equal(contrast["found"], [], "texts of low contrast")
    t.equal(page.complaints(), [], "errors, violations of the policy")
    kaproxy.stop()
    page.evaluate("refresh()")
    page.wait("stale.textContent.includes('does not answer')", "the notice")


@test("hundreds of hosts")
def many(t):
    server = serve(t, samples.many(300))
    page = chromium.start(t).open(server.url, width=360)
    t.equal(page.evaluate("document.title"), "300 problems - kaproxy", "title")
    t.equal(page.evaluate("[document.querySelectorAll('#hosts tbody').length,"
                          " document.querySelectorAll('#problems > ul > li').length]"), [300, 20],
            "rows, problems in sight")
    t.equal(page.evaluate("refresh().then(() => document.querySelectorAll('#hosts tbody').length)"),
            300, "after a refresh")
    check_fits(t, page)
    t.at_most(len(write_page(data=json.dumps(server.status).encode())), 300 * 2500, "bytes")
    t.equal(page.complaints(), [], "errors, violations of the policy")


main()
