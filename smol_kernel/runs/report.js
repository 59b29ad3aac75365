"use strict";
// Search, keys, and what a link or the printer wants opened. The page reads as well without it.
(() => {
  const rows = [...document.querySelectorAll(".row")];
  const form = document.querySelector(".find");
  const help = document.querySelector("dialog");
  if (!form || !help) return;
  const search = form.querySelector("input");
  const count = form.querySelector("output");
  const texts = rows.map(row => row.textContent.toLowerCase());
  const cards = row => [...row.children].filter(part => part.matches("details"));
  form.hidden = false;

  let before = null; // which cards were open when the search began
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    before ??= rows.map(row => cards(row).map(card => card.open));
    let hits = 0;
    rows.forEach((row, at) => {
      const hit = words.every(word => texts[at].includes(word));
      hits += hit;
      row.hidden = !hit;
      cards(row).forEach((card, place) => {
        card.open = words.length && hit ? true : before[at][place];
      });
    });
    if (!words.length) before = null;
    count.textContent = words.length ? `${hits} of ${rows.length}` : "";
  };
  const endSearch = () => {
    search.value = "";
    filter();
    search.blur();
  };

  const here = () => rows.indexOf(document.activeElement?.closest(".row"));
  const show = row => {
    (row.querySelector("summary") ?? row).focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const go = by => {
    const from = here();
    const seen = rows.filter(row => !row.hidden);
    const next = by > 0 ? seen.find(row => rows.indexOf(row) > from) : seen.findLast(row => rows.indexOf(row) < from);
    if (next ?? (from < 0 && seen[0])) show(next ?? seen[0]);
  };
  const toggle = which => {
    const open = which.some(card => !card.open);
    which.forEach(card => { card.open = open; });
  };

  const keys = {
    j: () => go(1),
    k: () => go(-1),
    o: () => here() >= 0 && toggle(cards(rows[here()])),
    e: () => toggle(rows.filter(row => !row.hidden).flatMap(cards)),
    "/": () => search.focus(),
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.key === "Escape" && (document.activeElement === search || search.value)) endSearch();
    if (document.activeElement === search || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  search.addEventListener("input", filter);
  form.addEventListener("submit", event => {
    event.preventDefault();
    search.blur();
    go(1);
  });
  form.querySelector("button").addEventListener("click", () => help.showModal());

  const openTarget = () => {
    const row = rows.find(one => one.id && `#${one.id}` === location.hash);
    if (!row) return;
    cards(row).forEach(card => { card.open = true; });
    show(row);
  };
  addEventListener("hashchange", openTarget);
  openTarget();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("main details:not([open])")];
    closed.forEach(card => { card.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach(card => { card.open = false; }));
})();
