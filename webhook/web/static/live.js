// Keeps a page up to date that names its stream: <main data-live="address">. Its `state` events have
// {title, tone, parts}: HTML by the id of its element, made by the page's own templates, which escape
// what comes from outside. Without it, the page shows what was there.
//
// Elements stay where they say the same, so that focus, selection, what is typed and what was folded
// out stay too.

const LOST_AFTER = 8000;
const LONGEST_WAIT = 60000;
const KEPT = new Set(["open", "data-time", "title"]); // of browsers and ui.js
const shown = document.querySelector(".connection[data-page]");
let wait = 5000;
let lost = 0;

function say(text, tone) {
  shown.textContent = text;
  shown.dataset.tone = tone;
}

function alike(now, next) {
  if (now.nodeName !== next.nodeName || now.id !== next.id) return false;
  return now.nodeName !== "TIME" || now.dateTime === next.dateTime;
}

function update(now, next) {
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue;
    return;
  }
  if (now.nodeName === "TIME" || now.isEqualNode(next)) return;
  // What a form sends along is that of the page, where the stream has none.
  if (now.type === "hidden" && !next.value) return;
  for (const { name } of [...now.attributes]) if (!KEPT.has(name) && !next.hasAttribute(name)) now.removeAttribute(name);
  for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  if (now.nodeName !== "TEXTAREA") become(now, next);
}

function become(now, next) {
  const wanted = [...next.childNodes];
  wanted.forEach((child, index) => {
    let there = now.childNodes[index];
    const known = child.id && [...now.children].find((one) => one.id === child.id);
    if (known && known !== there) there = now.insertBefore(known, there ?? null);
    if (!there) now.append(child);
    else if (alike(there, child)) update(there, child);
    else if (child.id && !known) now.insertBefore(child, there);
    else there.replaceWith(child);
  });
  while (now.childNodes.length > wanted.length) now.lastChild.remove();
}

function show({ title, tone, parts }) {
  for (const [id, html] of Object.entries(parts)) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const element = document.getElementById(id);
    if (element) become(element, template.content);
  }
  document.dispatchEvent(new CustomEvent("relay:state", { detail: { title, tone } }));
}

function listen(address) {
  const source = new EventSource(address);
  source.onopen = () => {
    clearTimeout(lost);
    lost = 0;
    wait = 5000;
    say("live", "good");
  };
  source.onerror = () => {
    lost ||= setTimeout(() => say("Not connected, trying again: this page may be out of date", "bad"), LOST_AFTER);
    if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
    setTimeout(() => listen(address), wait);
    wait = Math.min(wait * 2, LONGEST_WAIT);
  };
  source.addEventListener("state", (event) => show(JSON.parse(event.data)));
  source.addEventListener("end", () => {
    source.close();
    say("no longer live: load the page again", "error");
  });
}

const page = document.querySelector("[data-live]");
if (page?.dataset.live) listen(page.dataset.live);
