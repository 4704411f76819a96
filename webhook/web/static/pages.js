// Keeps the page of one deployment up to date. Without it, the page shows what was there.
"use strict";

const byId = (id) => document.getElementById(id);
const scroller = byId("scroller");
const connection = byId("connection");
const LOST_AFTER = 8000;
const LONGEST_WAIT = 60000;
const READ_FROM_END = 40;

let offset = connection.dataset.offset;
let wait = 5000;
let lost = 0;

function say(text, tone) {
  connection.textContent = text;
  connection.dataset.tone = tone;
}

function print(text) {
  if (!text) return;
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < READ_FROM_END;
  const first = scroller.hidden;
  byId("no_output").hidden = true;
  scroller.hidden = false;
  byId("output").append(text);
  if (atEnd || first) scroller.scrollTop = scroller.scrollHeight;
}

// Elements stay where they say the same, so that focus, selection and :target stay too.
function fill(element, content) {
  const same = document.createElement("div");
  same.append(content.cloneNode(true));
  if (same.innerHTML !== element.innerHTML) element.replaceChildren(content);
}

function fillTimeline(list, content) {
  for (const entry of [...content.children]) {
    const known = byId(entry.id);
    if (!known) {
      list.append(entry);
      continue;
    }
    known.dataset.tone = entry.dataset.tone;
    const inner = document.createDocumentFragment();
    inner.append(...entry.childNodes);
    fill(known, inner);
  }
}

function show(news) {
  for (const [id, html] of Object.entries(news.parts)) {
    const template = document.createElement("template");
    template.innerHTML = html; // made by the page's own templates, which escape what comes from outside
    (id === "timeline" ? fillTimeline : fill)(byId(id), template.content);
  }
  byId("verdict").dataset.tone = news.tone;
  document.dispatchEvent(new CustomEvent("relay:state", { detail: news }));
  startClock();
}

function stayTuned() {
  clearTimeout(lost);
  lost = 0;
  wait = 5000;
  say("live", "good");
}

function lose(source) {
  lost ||= setTimeout(() => say("not connected, trying again", "bad"), LOST_AFTER);
  if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
  setTimeout(listen, wait);
  wait = Math.min(wait * 2, LONGEST_WAIT);
}

function listen() {
  const query = new URLSearchParams(location.search);
  query.set("from", offset);
  const source = new EventSource(`${location.pathname}/events?${query}`);
  source.onopen = stayTuned;
  source.onerror = () => lose(source);
  source.addEventListener("state", (event) => show(JSON.parse(event.data)));
  source.addEventListener("output", (event) => {
    offset = event.lastEventId;
    print(JSON.parse(event.data));
  });
  source.addEventListener("end", () => {
    source.close();
    say("complete", "past");
  });
}

// The server says how long it has been; its clock may not be this one's.
let clock = 0;
function startClock() {
  clearInterval(clock);
  const figure = document.querySelector("[data-seconds]");
  if (!figure) return;
  const start = performance.now() - Number(figure.dataset.seconds) * 1000;
  clock = setInterval(() => {
    figure.textContent = written(Math.floor((performance.now() - start) / 1000));
  }, 1000);
}

function written(seconds) {
  const parts = [[Math.floor(seconds / 3600), "h"], [Math.floor(seconds / 60) % 60, "m"], [seconds % 60, "s"]];
  return parts.filter(([number]) => number).map(([number, unit]) => number + unit).join("") || "0s";
}

scroller.scrollTop = scroller.scrollHeight;
if (offset !== undefined) {
  startClock();
  listen();
}
