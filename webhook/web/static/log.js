// The output on the page of a deployment: what is printed while it is open, search in the lines that
// are shown, wrapping, and links to lines that are not shown. Without it, the page shows what was
// printed before, and the server searches in all of it.

const byId = (id) => document.getElementById(id);
const scroller = byId("scroller");
const log = byId("output");
const whole = byId("log-whole"); // not where the lines are hits already
const FROM_END = 40;
const MOST_LINES = 20000;
const MOST_HITS = 5000;

// --- What is printed now ---

let offset = byId("connection").dataset.offset;

function line(number, html) {
  const one = document.createElement("div");
  one.id = `L${number}`;
  one.innerHTML = `<a href="#L${number}">${number}</a>`;
  const template = document.createElement("template");
  template.innerHTML = html; // made on the server, which escapes what was printed
  one.append(template.content);
  return one;
}

function print({ lines, continued }) {
  if (!lines.length) return;
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < FROM_END;
  const first = scroller.hidden;
  const last = log.lastElementChild;
  let number = last ? Number(last.id.slice(1)) : 0;
  if (continued && last) {
    last.remove();
    number -= 1;
  }
  log.append(...lines.map((html) => line(++number, html)));
  while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
  byId("no_output").hidden = true;
  scroller.hidden = false;
  document.querySelector(".log-tools").hidden = false;
  if (atEnd || first) scroller.scrollTop = scroller.scrollHeight;
  later(search);
}

document.addEventListener("relay:connect", ({ detail: { query } }) => {
  for (const name of ["line", "until", "find", "after"]) query.delete(name);
  query.set("lines", "1");
  query.set("from", offset ?? "9".repeat(15)); // where the end is not shown, nothing is printed
});
document.addEventListener("relay:stream", ({ detail: { source } }) => {
  source.addEventListener("lines", (event) => {
    if (offset === undefined) return;
    offset = event.lastEventId;
    print(JSON.parse(event.data));
  });
});

// --- Links to lines ---

function goToLine() {
  const found = /^#L(\d{1,12})$/.exec(location.hash);
  if (!found || byId(found[0].slice(1))) return;
  const query = new URLSearchParams(location.search);
  if (query.get("line") === found[1]) return;
  for (const name of ["until", "after"]) query.delete(name);
  query.set("line", found[1]);
  location.replace(`${location.pathname}?${query}${location.hash}`);
}
addEventListener("hashchange", goToLine);
goToLine();
if (whole && !log.querySelector(":target")) scroller.scrollTop = scroller.scrollHeight;

// --- Wrapping ---

const wrap = byId("log-wrap");
function setWrap(on) {
  wrap.setAttribute("aria-pressed", String(on));
  scroller.classList.toggle("unwrapped", !on);
}
try { if (localStorage.getItem("wrap") === "off") setWrap(false); } catch { /* nothing is kept */ }
wrap.addEventListener("click", () => {
  const on = wrap.getAttribute("aria-pressed") !== "true";
  setWrap(on);
  try { localStorage.setItem("wrap", on ? "on" : "off"); } catch { /* nothing is kept */ }
});

// --- Search ---

const field = byId("log-search");
const highlights = window.Highlight && CSS.highlights;
let hits = [];
let current = -1;
let timer = 0;

function later(act) {
  clearTimeout(timer);
  if (field.value) timer = setTimeout(act, 150);
}

function hitsIn(one, wanted) {
  const nodes = [];
  const walker = document.createTreeWalker(one, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) if (walker.currentNode.parentNode !== one.firstElementChild) nodes.push(walker.currentNode);
  const text = nodes.map((node) => node.data).join("").toLowerCase();
  const found = [];
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
    const range = new Range();
    range.setStart(...position(nodes, at));
    range.setEnd(...position(nodes, at + wanted.length));
    found.push(range);
  }
  return found;
}

function position(nodes, at) {
  for (const node of nodes) {
    if (at <= node.length) return [node, at];
    at -= node.length;
  }
  return [nodes.at(-1), nodes.at(-1).length];
}

const numberOf = (one) => Number(one?.id.slice(1) ?? 0);
const total = () => Number(log.dataset.total ?? numberOf(log.lastElementChild));
const isPart = () => log.childElementCount > 0 && (numberOf(log.firstElementChild) > 1 || numberOf(log.lastElementChild) < total());

function search() {
  const wanted = field.value.toLowerCase();
  const before = hits[current]?.startContainer;
  hits = [];
  for (const one of log.children) {
    one.classList.remove("hit");
    if (wanted && hits.length < MOST_HITS && one.textContent.toLowerCase().includes(wanted)) hits.push(...hitsIn(one, wanted));
  }
  current = hits.findIndex((range) => (before ? range.startContainer === before : `#${lineOf(range).id}` === location.hash));
  if (highlights) highlights.set("log-hits", new Highlight(...hits));
  else for (const range of hits) lineOf(range).classList.add("hit");
  showHit(false);
}

const lineOf = (range) => range.startContainer.parentElement.closest("#output > div");

function showHit(scrolls) {
  const range = hits[current];
  highlights?.set("log-hit", range ? new Highlight(range) : new Highlight());
  const count = hits.length >= MOST_HITS ? `${MOST_HITS} or more` : hits.length || "no";
  const here = isPart() ? " here" : "";
  const every = `${count} hit${hits.length > 1 ? "s" : ""}`;
  byId("log-hits").textContent = !field.value ? "" : (range ? `${current + 1} of ${count}` : every) + here;
  whole.hidden = !field.value || !isPart();
  whole.textContent = `Search all ${total().toLocaleString("en")} lines`;
  if (range && scrolls) {
    const at = lineOf(range);
    scroller.scrollTop = at.offsetTop - log.offsetTop - scroller.clientHeight / 3;
  }
}

function step(by) {
  if (!hits.length) return;
  current = current < 0 ? (by > 0 ? 0 : hits.length - 1) : (current + by + hits.length) % hits.length;
  showHit(true);
}

if (whole) {
  field.addEventListener("input", () => { current = -1; field.value ? later(search) : search(); });
  field.form.addEventListener("submit", (event) => {
    if (event.submitter === whole) return;
    event.preventDefault();
    step(Number(event.submitter?.dataset.hit ?? 1));
  });
  field.form.querySelector("[data-hit='-1']").addEventListener("click", () => step(-1));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.shiftKey) return;
    event.preventDefault();
    step(-1);
  });
  if (field.value) search();
}
