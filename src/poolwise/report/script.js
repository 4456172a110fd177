"use strict";
(() => {
  // Tables sort by a column: numbers as numbers, what is not defined last.
  const number = (cell) => {
    const text = cell.textContent.trim().replace("∞", "Infinity");
    return text === "–" || text === "" ? NaN : Number(text);
  };
  const order = (numeric, sign, column) => (a, b) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    if (!numeric) return sign * x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
    const [u, v] = [number(x), number(y)];
    if (Number.isNaN(u) || Number.isNaN(v)) return Number.isNaN(u) - Number.isNaN(v);
    return sign * (u < v ? -1 : u > v ? 1 : 0);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort(order(head.classList.contains("n"), up ? 1 : -1, column));
        table.tBodies[0].append(...rows);
      });
    });
  }
  // A group under the pointer lights up wherever it stands.
  const marked = new Map();
  for (const one of document.querySelectorAll("[data-g]")) {
    if (!marked.has(one.dataset.g)) marked.set(one.dataset.g, []);
    marked.get(one.dataset.g).push(one);
  }
  const pointed = document.getElementById("pointed");
  let lit = null;
  const light = (place) => {
    if (place === lit) return;
    for (const one of marked.get(lit) ?? []) one.classList.remove("on");
    for (const one of marked.get(place) ?? []) one.classList.add("on");
    lit = place;
  };
  document.addEventListener("pointerover", (event) => {
    const one = event.target.closest("[data-g]");
    light(one ? one.dataset.g : null);
    pointed.textContent = one ? (one.querySelector("title")?.textContent ?? "") : "";
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { light(null); pointed.textContent = ""; }
  });
})();
