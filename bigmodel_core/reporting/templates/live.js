// Keeps a page up to date: what it shows is asked for anew, and replaced where it has changed.
"use strict";
const WAIT = 2000;
let before = null;

async function renew() {
  if (document.hidden || (document.activeElement && document.activeElement.matches("input:not([type])"))) return;
  let text;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    text = await answer.text();
  } catch {
    return; // the server is gone, or comes back
  }
  if (text === before) return;
  const known = before !== null;
  before = text;
  if (!known) return;
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const ticked = new Set([...document.querySelectorAll("input:checked")].map((box) => box.value));
  const open = [...document.querySelectorAll("details")].map((item) => item.open);
  for (const part of ["header", "nav", "main"]) {
    document.querySelector(part).replaceWith(fresh.querySelector(part));
  }
  document.title = fresh.title;
  document.querySelectorAll("input[type=checkbox]").forEach((box) => { box.checked = ticked.has(box.value); });
  document.querySelectorAll("details").forEach((item, place) => { item.open = open[place] || false; });
}

setInterval(renew, WAIT);
