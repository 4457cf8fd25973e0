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
    shown.textContent = now[shown.dataset.count] ?? shown.textContent;
  }
  say(!mark || now.mark === mark ? "" : sentence, action, location.href);
}

if (main.dataset.poll) {
  setInterval(() => document.hidden || look(), LOOK_MS);
  document.addEventListener("visibilitychange", () => document.hidden || look());
}

/** Arrow keys, j and k go from study to study, while one of them has the focus. */
const studies = [...document.querySelectorAll("tr.study a")];
document.addEventListener("keydown", (event) => {
  const at = studies.indexOf(document.activeElement);
  const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
  if (at < 0 || !step || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  studies[Math.min(Math.max(at + step, 0), studies.length - 1)].focus();
});

/** A picture that cannot be made says so. */
for (const picture of document.querySelectorAll("figure img")) {
  const fail = () => {
    const sentence = document.createElement("p");
    sentence.className = "no-picture";
    sentence.textContent = news.dataset.noPicture;
    picture.replaceWith(sentence);
  };
  if (picture.complete && picture.naturalWidth === 0) fail();
  else picture.addEventListener("error", fail);
}
