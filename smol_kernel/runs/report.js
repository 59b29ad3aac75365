"use strict";
(() => {
  const rows = [...document.querySelectorAll(".row")];
  const search = document.querySelector("input[type=search]");
  const found = document.querySelector("output");
  const shade = matchMedia("(prefers-color-scheme: dark)");
  const dress = () => { document.documentElement.dataset.theme = shade.matches ? "dark" : "light"; };
  dress();
  shade.addEventListener("change", dress);

  const cards = row => [...row.querySelectorAll("details")];
  const filter = () => {
    const words = search.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      const hit = !words || row.textContent.toLowerCase().includes(words);
      row.hidden = !hit;
      count += hit;
      if (hit && words) cards(row).slice(0, 1).forEach(card => { card.open = true; });
    }
    found.textContent = words ? `${count} of ${rows.length}` : "";
  };
  search.addEventListener("input", filter);

  const go = by => {
    const shown = rows.filter(row => !row.hidden);
    if (!shown.length) return;
    const at = shown.indexOf(document.activeElement.closest(".row"));
    const next = shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : Math.min(Math.max(at + by, 0), shown.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.activeElement === search) {
      if (event.key === "Escape") { search.value = ""; filter(); search.blur(); }
      return;
    }
    const row = document.activeElement.closest(".row");
    if (event.key === "/") { event.preventDefault(); search.focus(); }
    else if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
    else if (event.key === "o" && row) cards(row).slice(0, 1).forEach(card => { card.open = !card.open; });
    else if (event.key === "e") {
      const all = rows.flatMap(cards);
      const open = all.some(card => !card.open);
      all.forEach(card => { card.open = open; });
    }
  });
  document.querySelector("nav")?.addEventListener("click", event => {
    const target = event.target.closest("a");
    const row = target && document.querySelector(target.getAttribute("href"));
    if (row) cards(row).slice(0, 1).forEach(card => { card.open = true; });
  });
})();
