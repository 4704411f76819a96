// Keeps a page up to date. Without it, the page shows what was there. What it finds in the page:
//
//   [data-live]       the address of its stream, which gets the page's own query, too
//   [id]              of a part that the stream sends
//   [data-page-tone]  has the tone of the page
//   [data-seconds]    counts on from there, as the server's clock may not be this one's
//   #connection       says whether the page is live; without it, the frame does
//
// It dispatches to the document: `relay:state` after a change ({title, tone}), `relay:connect` before
// it connects ({query}), and `relay:stream` ({source}), for who listens for other events there.
// A hidden page looks now and then: without HTTP/2, browsers hold six connections to one server.

const LOST_AFTER = 8000;
const LONGEST_WAIT = 60000;
const HIDDEN_FOR = 10000;
const LOOKS_EVERY = 20000;

const byId = (id) => document.getElementById(id);
const page = document.querySelector("[data-live]");
const address = page?.dataset.live;
let source = null;
let over = false;
let wait = 5000;
let lost = 0;
let later = 0;

function say(text, tone) {
  const connection = byId("connection") ?? document.querySelector(".connection[data-page]");
  if (!connection || connection.textContent === text) return;
  connection.textContent = text;
  connection.dataset.tone = tone;
}

function dispatch(name, detail) {
  document.dispatchEvent(new CustomEvent(name, { detail }));
}

// --- What has changed takes the place of what was there; all else stays as the reader left it ---

const isTime = (node) => node.nodeName === "TIME" && node.hasAttribute("data-time");
const idOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id : "");
const alike = (one, other) => one.nodeName === other.nodeName && idOf(one) === idOf(other);

function renew(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  // ui.js has written the reader's time there.
  if (isTime(old) && isTime(fresh) && old.dateTime === fresh.dateTime) return;
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value && !(name === "open" && old.nodeName === "DETAILS")) old.setAttribute(name, value);
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  renewChildren(old, fresh);
}

function renewChildren(old, fresh) {
  const kept = new Set([...fresh.childNodes].map(idOf).filter(Boolean));
  let at = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    while (at && idOf(at) && !kept.has(at.id)) at = drop(at);
    const known = idOf(node) && [...old.children].find((one) => one.id === node.id);
    if (known && known !== at && alike(known, node)) old.insertBefore(known, at);
    const same = known || (at && alike(at, node) ? at : null);
    if (same && alike(same, node)) {
      renew(same, node);
      at = same.nextSibling;
    } else old.insertBefore(node, at);
  }
  while (at) at = drop(at);
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function show(news) {
  for (const [id, html] of Object.entries(news.parts)) {
    const part = byId(id);
    if (!part) continue;
    const template = document.createElement("template");
    template.innerHTML = html; // made by the page's own templates, which escape what comes from outside
    renewChildren(part, template.content);
  }
  for (const one of document.querySelectorAll("[data-page-tone]")) one.dataset.tone = news.tone;
  dispatch("relay:state", news);
  count();
}

// --- The stream ---

function connect(glimpse = false) {
  clearTimeout(later);
  source?.close();
  const url = new URL(address, location.href);
  for (const [name, value] of new URLSearchParams(location.search))
    if (!url.searchParams.has(name)) url.searchParams.append(name, value);
  dispatch("relay:connect", { query: url.searchParams });
  const opened = (source = new EventSource(url));
  if (!glimpse) expect(); // a proxy may keep to itself what comes
  source.onopen = () => {
    clearTimeout(lost);
    lost = 0;
    wait = 5000;
    if (!glimpse) say("live", "good");
  };
  source.onerror = () => lose(opened);
  source.addEventListener("state", (event) => {
    show(JSON.parse(event.data));
    if (glimpse) opened.close();
  });
  source.addEventListener("end", (event) => {
    over = true;
    opened.close();
    if (JSON.parse(event.data).state === "hidden") say("no longer live: load the page again", "error");
    else say("complete", "past");
  });
  dispatch("relay:stream", { source });
}

function expect() {
  lost ||= setTimeout(() => say("Not connected, trying again: this page may be out of date", "bad"), LOST_AFTER);
}

function lose(failed) {
  expect();
  if (failed.readyState !== EventSource.CLOSED || failed !== source) return; // it comes back by itself
  clearTimeout(later);
  later = setTimeout(connect, wait);
  wait = Math.min(wait * 2, LONGEST_WAIT);
}

function glance() {
  connect(true);
  later = setTimeout(glance, LOOKS_EVERY);
}

function onVisibility() {
  clearTimeout(later);
  if (over) return;
  if (document.hidden) {
    later = setTimeout(() => { source.close(); later = setTimeout(glance, LOOKS_EVERY); }, HIDDEN_FOR);
  } else if (source.readyState === EventSource.CLOSED) connect();
}

// --- How long it has been ---

let clock = 0;
function count() {
  clearInterval(clock);
  const begun = [...document.querySelectorAll("[data-seconds]")].map((one) => [one, performance.now() - Number(one.dataset.seconds) * 1000]);
  const write = () => begun.forEach(([one, start]) => { one.textContent = written(Math.floor((performance.now() - start) / 1000)); });
  if (begun.length) clock = setInterval(write, 1000);
}

function written(seconds) {
  const parts = [[Math.floor(seconds / 3600), "h"], [Math.floor(seconds / 60) % 60, "m"], [seconds % 60, "s"]];
  return parts.filter(([number]) => number).map(([number, unit]) => number + unit).join("") || "0s";
}

count();
if (address) {
  connect();
  document.addEventListener("visibilitychange", onVisibility);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", ({ persisted }) => { if (persisted && !over) connect(); });
}
