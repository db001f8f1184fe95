// SPDX-License-Identifier: ISC
// Fetches the page every two seconds and puts its new <main> in place of the old one. All that is
// shown comes from the server; without this script the page is complete, and loads itself again.
"use strict";

const INTERVAL = 2000;
const PATIENCE = 5000;

const stale = document.getElementById("stale");
const news = document.getElementById("news");
const button = document.getElementById("pause");
const hint = document.getElementById("hint");
let main = document.querySelector("main");
let timer = 0;
let isUnderWay = false;
let isPaused = false;
let good = new Date(); // when the figures that are shown came

function find(id) {
    return id ? document.getElementById(id) : null;
}

// What can have the focus, by the nearest element with an id and its place in there.
function focusable(owner) {
    return Array.from((owner || main).querySelectorAll("a, summary"));
}

function noteFocus() {
    const active = document.activeElement;
    if (!main.contains(active))
        return null;
    const owner = active.closest("[id]");
    return {id: owner ? owner.id : "", place: focusable(owner).indexOf(active)};
}

function restoreFocus(focus) {
    const element = focus && focusable(find(focus.id))[focus.place];
    if (element)
        element.focus({preventScroll: true});
}

function problems(of) {
    return Array.from(of.querySelectorAll("#problems li .code"), code => code.textContent).join();
}

// Those who do not see the page hear what is new on top, not each number.
function announce(fresh) {
    if (problems(fresh) !== problems(main))
        news.textContent = Array.from(fresh.querySelectorAll("#problems h1, #problems li .text"),
                                      item => item.textContent).slice(0, 4).join(". ");
}

function replace(page) {
    const fresh = page.querySelector("main");
    if (!fresh)
        throw new Error("does not answer with its status page");
    if (fresh.dataset.version !== main.dataset.version) {
        location.reload(); // another program, and with it other style and script
        return;
    }
    const focus = noteFocus();
    const x = scrollX, y = scrollY;
    for (const details of main.querySelectorAll("details[open]")) {
        const same = details.id && fresh.querySelector("#" + CSS.escape(details.id));
        if (same)
            same.open = true;
    }
    announce(fresh);
    document.adoptNode(fresh);
    main.replaceWith(fresh);
    main = fresh;
    document.title = page.title;
    scrollTo({left: x, top: y, behavior: "instant"});
    restoreFocus(focus);
    good = new Date();
}

function showStale(why) {
    const alert = stale.querySelector("strong");
    const text = "kaproxy " + why + ": these figures are of " + good.toLocaleTimeString() + ".";
    if (alert.textContent !== text)
        alert.textContent = text;
    stale.querySelector("span").textContent =
        "They are " + Math.round((Date.now() - good) / 1000) + " s old.";
    stale.hidden = false;
}

function hideStale() {
    stale.hidden = true;
    stale.querySelector("strong").textContent = "";
}

async function load() {
    const abort = new AbortController();
    const limit = setTimeout(() => abort.abort(), PATIENCE);
    try {
        const response = await fetch("/", {cache: "no-store", signal: abort.signal});
        const text = await response.text();
        if (!response.ok)
            throw new Error("answers with status " + response.status);
        return text;
    } catch (error) {
        throw error instanceof TypeError || error.name === "AbortError" ?
            new Error("does not answer") : error;
    } finally {
        clearTimeout(limit);
    }
}

// Text that somebody is about to copy is not taken away.
function isSelecting() {
    const selection = getSelection();
    return !selection.isCollapsed && main.contains(selection.anchorNode);
}

async function refresh() {
    clearTimeout(timer);
    if (isUnderWay || isPaused || document.hidden)
        return;
    isUnderWay = true;
    try {
        const text = await load();
        hint.textContent = isSelecting() ? "Refreshing waits while text is selected." : "";
        if (!isPaused && !isSelecting())
            replace(new DOMParser().parseFromString(text, "text/html"));
        hideStale();
    } catch (error) {
        showStale(error.message);
    } finally {
        isUnderWay = false;
        timer = setTimeout(refresh, INTERVAL);
    }
}

button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? "Go on" : "Pause";
    refresh();
});
document.addEventListener("visibilitychange", refresh);
button.hidden = false;
timer = setTimeout(refresh, INTERVAL);
