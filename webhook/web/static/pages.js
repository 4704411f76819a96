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

// Elements stay where the server says the same as before, so that focus, selection and :target stay
// too. What stands there now may differ: times count, details are open.
const sent = new Map();
const postponed = new Map();

function fill(element, html) {
  if (sent.get(element.id) === html) return;
  const template = document.createElement("template");
  template.innerHTML = html; // made by the page's own templates, which escape what comes from outside
  const first = !sent.has(element.id) && template.innerHTML === element.innerHTML;
  sent.set(element.id, html);
  if (first) return;
  // Nobody loses what they are writing; what is asked for is checked again by the server.
  if (element.querySelector("details[open] form")) postponed.set(element, template.content);
  else replace(element, template.content);
}

function replace(element, content) {
  const open = [...element.querySelectorAll("details[open][id]")].map(({ id }) => id);
  const focused = element.contains(document.activeElement) ? found(document.activeElement) : "";
  element.replaceChildren(content);
  for (const id of open) byId(id)?.setAttribute("open", "");
  if (focused) element.querySelector(focused)?.focus({ preventScroll: true });
}

// A selector by which it is found again once its part was made anew.
function found(element) {
  if (element.id) return `#${CSS.escape(element.id)}`;
  if (element.matches("summary") && element.parentElement.id) return `#${CSS.escape(element.parentElement.id)} > summary`;
  const url = element.getAttribute("href");
  return url ? `a[href="${CSS.escape(url)}"]` : "";
}

document.addEventListener("toggle", () => {
  for (const [element, content] of postponed) {
    if (element.querySelector("details[open] form")) continue;
    postponed.delete(element);
    replace(element, content);
  }
}, true);

function fillTimeline(list, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const entry of [...template.content.children]) {
    const known = byId(entry.id);
    if (!known) {
      list.append(entry);
      sent.set(entry.id, entry.innerHTML);
      continue;
    }
    known.dataset.tone = entry.dataset.tone;
    fill(known, entry.innerHTML);
  }
}

function show(news) {
  for (const [id, html] of Object.entries(news.parts)) (id === "timeline" ? fillTimeline : fill)(byId(id), html);
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
