// What makes every page quicker to use; without it, each works as it is. What it finds in the page:
//
//   time[data-time]     says how long ago, in the reader's zone, or in UTC, as is chosen below
//   [data-copy]         copies that text
//   [data-opens]        opens the dialog of that id
//   form[data-filters]  is sent with each choice, without what is empty
//   a[data-go]          the keys g and that letter go there
//
// A live page dispatches `relay:state` to the document, with `detail: {title, tone}`; elements that
// are put into it later are found. It must not compare what it put there with what stands there now.

const root = document.documentElement;
const byId = (id) => document.getElementById(id);
root.classList.add("js");

// Where the browser keeps nothing, choices last as long as the page.
const choices = new Map();
function chosen(name) {
  try { return localStorage.getItem(name) ?? choices.get(name) ?? ""; } catch { return choices.get(name) ?? ""; }
}
function choose(name, value) {
  choices.set(name, value);
  try { localStorage.setItem(name, value); } catch { /* kept above */ }
}

let silent = 0;
function say(text) {
  document.querySelector(".toast").textContent = text;
  clearTimeout(silent);
  silent = setTimeout(() => say(""), 3000);
}

// --- Times ---

const MODES = ["", "local", "utc"];
const UNITS = [["day", 86400], ["h", 3600], ["min", 60]];
const LONG_AGO = 30 * 86400;
const written = new WeakMap(); // what the server wrote: UTC
const skew = document.body.dataset.now ? Date.parse(document.body.dataset.now) - Date.now() : 0;
const date = { day: "numeric", month: "short", year: "numeric" };
const dayOnly = new Intl.DateTimeFormat("en-GB", date);
const inZone = new Intl.DateTimeFormat("en-GB", {
  ...date, hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
});

function ago(at) {
  const seconds = Math.round((Date.now() + skew - at) / 1000);
  const distance = Math.abs(seconds);
  if (distance > LONG_AGO) return dayOnly.format(at);
  const [unit, size] = UNITS.find(([, length]) => distance >= length) ?? [];
  if (!unit) return seconds < -5 ? "in less than 1 min" : "just now";
  const number = Math.floor(distance / size);
  const text = `${number} ${unit}${unit === "day" && number > 1 ? "s" : ""}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function showTime(element) {
  const at = Date.parse(element.dateTime);
  if (Number.isNaN(at)) return;
  // A live page writes another time into the same element.
  if (written.get(element)?.of !== element.dateTime)
    written.set(element, { of: element.dateTime, utc: element.textContent });
  const { utc } = written.get(element);
  const local = inZone.format(at);
  const mode = chosen("times") || (element.dataset.time === "exact" ? "local" : "");
  const text = { utc, local }[mode] ?? ago(at);
  if (element.textContent !== text) element.textContent = text;
  element.title = mode === "local" ? utc : local;
}

function showTimes(within = document) {
  for (const element of within.querySelectorAll("time[data-time]")) showTime(element);
}

function nextMode() {
  const next = MODES[(MODES.indexOf(chosen("times")) + 1) % MODES.length];
  choose("times", next);
  byId("times").value = next;
  say(`Times: ${byId("times").selectedOptions[0].text}`);
  showTimes();
}

new MutationObserver((changes) => {
  for (const { addedNodes } of changes)
    for (const node of addedNodes)
      if (node instanceof Element) node.matches("time[data-time]") ? showTime(node) : showTimes(node);
}).observe(document.body, { childList: true, subtree: true });
setInterval(() => document.hidden || showTimes(), 15000);
document.addEventListener("visibilitychange", () => document.hidden || showTimes());
showTimes();

// --- The state of a live page ---

document.addEventListener("relay:state", ({ detail: { title, tone } }) => {
  showTimes();
  if (title) document.title = `${title} · Gitploy Relay`;
  const icon = document.querySelector("link[rel=icon]");
  const known = ["good", "bad", "error", "running", "waiting", "hold"].includes(tone);
  const next = icon.href.replace(/icon[-\w]*\.svg/, known ? `icon-${tone}.svg` : "icon.svg");
  if (icon.href !== next) icon.href = next;
});

// --- Choices in the footer ---

const year = 365 * 86400;
byId("theme").value = root.dataset.theme ?? "";
byId("theme").addEventListener("change", ({ target: { value } }) => {
  // A cookie, so that the next page comes in it.
  document.cookie = `theme=${value}; Path=/; SameSite=Lax; Max-Age=${value ? year : 0}`;
  if (value) root.dataset.theme = value;
  else delete root.dataset.theme;
});
byId("times").value = chosen("times");
byId("times").addEventListener("change", ({ target: { value } }) => {
  choose("times", value);
  showTimes();
});
byId("single-keys").checked = chosen("single-keys") !== "off";
byId("single-keys").addEventListener("change", ({ target: { checked } }) => choose("single-keys", checked ? "on" : "off"));

// --- Dialogs ---

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-opens], [data-copy]");
  if (!target || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const { opens, copy } = target.dataset;
  if (opens) byId(opens).showModal();
  else copyText(copy);
});

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch { // browsers offer no clipboard to pages over plain http
    const field = document.body.appendChild(document.createElement("textarea"));
    field.value = text;
    field.select();
    say(document.execCommand("copy") ? "Copied" : "The browser does not let a page copy");
    field.remove();
  }
}

// --- Filters ---

document.addEventListener("change", ({ target }) => {
  const form = target.closest("form[data-filters]");
  if (!form || !target.matches("select, [type=checkbox], [type=radio], [type=date]")) return;
  sessionStorage.setItem("chosen", target.id || target.name);
  form.requestSubmit();
});
document.addEventListener("formdata", ({ target, formData }) => {
  if (!target.matches("form[data-filters]")) return;
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
});
// The page that comes then has the focus where it was.
try {
  const name = sessionStorage.getItem("chosen");
  sessionStorage.removeItem("chosen");
  if (name) document.querySelector("form[data-filters]")?.elements[name]?.focus?.({ preventScroll: true });
} catch { /* the browser keeps nothing */ }

// --- Keys ---

let going = 0;
function row(step) {
  const rows = [...document.querySelectorAll("main tbody tr, main .list > li, main [data-row]")]
    .filter((one) => one.querySelector("a[href]") && one.checkVisibility());
  const now = rows.findIndex((one) => one.contains(document.activeElement));
  const next = rows[now < 0 && step < 0 ? rows.length - 1 : now + step];
  next?.querySelector("a[href]").focus();
}

const KEYS = {
  "?": () => byId("keys").showModal(),
  "/": () => document.querySelector("input#search")?.select(),
  j: () => row(1),
  k: () => row(-1),
  t: nextMode,
  g: () => { going = performance.now(); },
};

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  if (chosen("single-keys") === "off" || document.querySelector("dialog[open]")) return;
  if (target.closest("input:not([type=checkbox], [type=radio]), select, textarea, [contenteditable]")) return;
  const goes = performance.now() - going < 1500;
  going = 0;
  const link = goes && document.querySelector(`a[data-go="${CSS.escape(key)}"]`);
  const act = link ? () => link.click() : KEYS[key];
  if (!act) return;
  event.preventDefault();
  act();
});
