// Keeps a page up to date: the element with data-live names the stream that sends its parts, each
// by the id of the element that it fills. Without it, the page shows what was there.

const LOST_AFTER = 8000;
const FIRST_WAIT = 5000;
const LONGEST_WAIT = 60000;

const byId = (id) => document.getElementById(id);
const address = document.querySelector("[data-live]")?.dataset.live;
const connection = byId("connection");
let wait = FIRST_WAIT;
let lost = 0;

function say(text, tone) {
  if (!connection) return;
  connection.textContent = text;
  connection.dataset.tone = tone;
}

const FOCUSABLE = "a[href], button, summary, input:not([type=hidden]), [tabindex]";

// Whoever has the focus in what is replaced keeps it, and what was opened stays open.
function fill(element, html) {
  const template = document.createElement("template");
  template.innerHTML = html; // made by the page's own templates, which escape what comes from outside
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const number = focused ? [...element.querySelectorAll(FOCUSABLE)].indexOf(focused) : -1;
  const opened = [...element.querySelectorAll("details")].map((one) => one.open);
  element.replaceChildren(template.content);
  [...element.querySelectorAll("details")].forEach((one, index) => { one.open = opened[index] ?? false; });
  if (number < 0) return;
  const now = [...element.querySelectorAll(FOCUSABLE)];
  const same = now.find((one) => focused.href && one.href === focused.href);
  (same ?? now[Math.min(number, now.length - 1)])?.focus({ preventScroll: true });
}

function show(news) {
  for (const [id, html] of Object.entries(news.parts)) {
    const element = byId(id);
    if (element) fill(element, html);
  }
  document.dispatchEvent(new CustomEvent("relay:state", { detail: news }));
}

function lose(source) {
  lost ||= setTimeout(() => say("not connected, trying again", "bad"), LOST_AFTER);
  if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
  setTimeout(listen, wait);
  wait = Math.min(wait * 2, LONGEST_WAIT);
}

function listen() {
  const source = new EventSource(address);
  source.onopen = () => {
    clearTimeout(lost);
    lost = 0;
    wait = FIRST_WAIT;
    say("live", "good");
  };
  source.onerror = () => lose(source);
  source.addEventListener("state", ({ data }) => show(JSON.parse(data)));
  source.addEventListener("end", () => {
    source.close();
    clearTimeout(lost);
    say("not renewed any more: load the page again", "bad");
  });
  addEventListener("pagehide", () => source.close(), { once: true });
}

if (address) listen();
