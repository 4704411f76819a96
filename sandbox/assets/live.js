// Keeps a page of a stand-in fresh: it is fetched again every second, and of what has the attribute
// data-live only what has changed is replaced. What somebody types or has unfolded stays.
"use strict";
(() => {
  const parser = new DOMParser();
  let etag = "";

  function isBusy(part) {
    return part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
  }

  function replace(part, fresh) {
    const unfolded = new Set([...part.querySelectorAll("details[open][id]")].map((one) => one.id));
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const bottom = part.scrollHeight - part.scrollTop - part.clientHeight < 40;
    part.innerHTML = fresh.innerHTML;
    for (const one of part.querySelectorAll("details[id]")) if (unfolded.has(one.id)) one.open = true;
    if (focused) document.getElementById(focused)?.focus();
    if (part.hasAttribute("data-bottom") && bottom) part.scrollTop = part.scrollHeight;
  }

  async function refresh() {
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const response = await fetch(location.href, { headers, cache: "no-store" });
      if (response.status === 200) {
        etag = response.headers.get("ETag") || "";
        const fresh = parser.parseFromString(await response.text(), "text/html");
        for (const part of document.querySelectorAll("[data-live]")) {
          const other = fresh.getElementById(part.id);
          if (other && other.innerHTML !== part.dataset.seen && !isBusy(part)) {
            if (part.dataset.seen !== undefined || other.innerHTML !== part.innerHTML) replace(part, other);
            part.dataset.seen = other.innerHTML;
          }
        }
      }
      document.body.removeAttribute("data-lost");
    } catch {
      document.body.setAttribute("data-lost", "");
    }
    setTimeout(refresh, 1000);
  }

  for (const part of document.querySelectorAll("[data-bottom]")) part.scrollTop = part.scrollHeight;
  for (const select of document.querySelectorAll("select[data-submits]"))
    select.addEventListener("change", () => select.form.requestSubmit());
  setTimeout(refresh, 1000);
})();
