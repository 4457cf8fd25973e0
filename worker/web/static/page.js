// What the page can do beside what it does without a script: say that it is out of date, and be walked by keys.
"use strict";

const LOOK_MS = 5000;
const main = document.getElementById("main");
const news = document.querySelector(".news");
let said = "";

/** Say something politely, once, with a link that a reader may follow when she wants to. Nothing else moves. */
function say(sentence, action, address) {
  if (sentence === said) return;
  said = sentence;
  news.replaceChildren();
  if (!sentence) return;
  const text = document.createElement("span");
  text.textContent = sentence;
  news.append(text);
  if (action) {
    const link = document.createElement("a");
    link.textContent = action;
    link.href = address;
    news.append(link);
  }
}

async function look() {
  const { poll, mark, news: sentence, action } = main.dataset;
  let answer;
  try {
    answer = await fetch(poll, { cache: "no-store", redirect: "error" });
  } catch {
    say(news.dataset.away);
    return;
  }
  if (answer.status === 401) {
    location.reload(); // and so to the form to sign in: nothing of a patient stays on a screen that nobody looks at
    return;
  }
  if (answer.status === 404) {
    say(news.dataset.gone, news.dataset.list, "/");
    return;
  }
  if (!answer.ok) {
    say(news.dataset.away);
    return;
  }
  const now = await answer.json();
  for (const shown of document.querySelectorAll("[data-count]")) {
    shown.textContent = now.shown?.[shown.dataset.count] ?? shown.textContent;
  }
  say(!mark || now.mark === mark ? "" : sentence, action, location.href);
}

if (main.dataset.poll) {
  setInterval(() => document.hidden || look(), LOOK_MS);
  document.addEventListener("visibilitychange", () => document.hidden || look());
}

// On a telephone the first study is on the first screen, unless the list is filtered.
const filtering = document.querySelector(".filtering:not([data-chosen])");
if (filtering && matchMedia("(max-width: 40rem)").matches) filtering.open = false;

/** On a list, keys go from study to study, at once: the first key goes to the first one. */
const studies = [...document.querySelectorAll("tr.study th a")];
let at = -1;
document.addEventListener("focusin", () => {
  const focused = studies.indexOf(document.activeElement);
  if (focused >= 0) at = focused;
});
function walk(step) {
  at = Math.min(Math.max(at + step, 0), studies.length - 1);
  studies[at].focus();
}

/** Follow a link of the page, if it has it. */
function go(selector) {
  const link = document.querySelector(selector);
  if (link) link.click();
  return Boolean(link);
}
function focusOn(selector) {
  const field = document.querySelector(selector);
  if (field) field.focus();
  return Boolean(field);
}

const next = () => (studies.length ? walk(1) : go("a[rel=next]"));
const previous = () => (studies.length ? walk(-1) : go("a[rel=prev]"));
const KEYS = {
  j: next,
  k: previous,
  ArrowDown: () => (studies.length ? walk(1) : false),
  ArrowUp: () => (studies.length ? walk(-1) : false),
  ArrowRight: () => (studies.length ? false : go("a[rel=next]")),
  ArrowLeft: () => (studies.length ? false : go("a[rel=prev]")),
  u: () => go(".around a, .brand"),
  g: () => focusOn("#place"),
  "/": () => focusOn("#accession"),
  "?": () => keys && keys.showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, dialog[open]");
  const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (typing || !act || event.ctrlKey || event.altKey || event.metaKey) return;
  if (act() !== false) event.preventDefault();
});

const keys = document.getElementById("keys");
for (const button of document.querySelectorAll("button[data-opens]")) {
  button.hidden = false;
  button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
}

/** A picture is shown larger, in a dialog; without a script its link shows it by itself. */
const zoom = document.getElementById("zoom");
if (zoom) {
  const picture = zoom.querySelector("img");
  const shown = zoom.querySelector("output");
  let scale = 1;
  const fit = (factor) => {
    const [before, ground] = [scale, picture.parentElement];
    scale = Math.min(Math.max(factor, 1), 8);
    const middle = [ground.scrollLeft + ground.clientWidth / 2, ground.scrollTop + ground.clientHeight / 2];
    picture.style.width = picture.style.height = `${scale * 100}%`;
    shown.textContent = `${Math.round(scale * 100)} %`;
    ground.scrollTo(
      (middle[0] * scale) / before - ground.clientWidth / 2,
      (middle[1] * scale) / before - ground.clientHeight / 2,
    );
  };
  const STEPS = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 };
  const links = [...document.querySelectorAll("a.zoom")];
  let beside = []; // the pictures of the same kind of the lesion's images, this one among them
  const show = (link) => {
    const kind = link.parentElement.className;
    const images = link.closest(".images");
    beside = links.filter((one) => images && images.contains(one) && one.parentElement.className === kind);
    picture.src = link.href;
    picture.alt = link.querySelector("img").alt;
    zoom.querySelector("strong").textContent = link.dataset.name ?? "";
    for (const button of zoom.querySelectorAll("button[data-step]")) button.hidden = beside.length < 2;
  };
  const step = (by) => {
    if (beside.length < 2) return;
    const here = beside.findIndex((one) => one.href === picture.src);
    show(beside[(here + by + beside.length) % beside.length]);
    fit(1);
  };
  for (const link of links) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      show(link);
      zoom.showModal();
      fit(1);
    });
  }
  for (const button of zoom.querySelectorAll("button[data-step]")) {
    button.addEventListener("click", () => step(Number(button.dataset.step)));
  }
  const BESIDE = { ArrowLeft: -1, ArrowRight: 1 };
  zoom.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    // A picture that is larger than its ground is moved by the arrows.
    if (Object.hasOwn(BESIDE, event.key) && scale === 1) step(BESIDE[event.key]);
    else if (Object.hasOwn(STEPS, event.key)) fit(scale * STEPS[event.key]);
    else return;
    event.preventDefault();
  });
  for (const button of zoom.querySelectorAll("button[value]")) {
    button.addEventListener("click", () => fit(scale * STEPS[button.value]));
  }
  picture.parentElement.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      fit(scale * (event.deltaY < 0 ? 1.25 : 0.8));
    },
    { passive: false },
  );
}

/** A picture that cannot be made says so. */
for (const picture of document.querySelectorAll("figure img")) {
  const fail = () => {
    const whole = picture.closest("a.zoom") ?? picture;
    const sentence = document.createElement("p");
    sentence.className = "no-picture";
    sentence.textContent = news.dataset.noPicture;
    whole.replaceWith(sentence);
  };
  if (picture.complete && picture.naturalWidth === 0) fail();
  else picture.addEventListener("error", fail);
}
