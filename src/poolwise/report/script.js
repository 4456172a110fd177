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
  // Lines move from complete to no to partial pooling.
  for (const figure of document.querySelectorAll(".motion")) {
    const stages = figure.dataset.stages.split("|");
    const lines = [...figure.querySelectorAll(".moving")].map((path) => {
      const [x, ...heights] = path.dataset.line.split("|").map((row) => row.split(" ").map(Number));
      return { path, x, heights };
    });
    const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 2, step: 0.02, value: 2 });
    slider.setAttribute("aria-label", "From complete to no to partial pooling");
    const said = document.createElement("output");
    const play = Object.assign(document.createElement("button"), { type: "button", textContent: "Play" });
    const move = (time) => {
      const before = Math.min(Math.floor(time), 1);
      const share = time - before;
      for (const { path, x, heights } of lines) {
        const y = heights[before].map((from, k) => (share ? (1 - share) * from + share * heights[before + 1][k] : from));
        const finite = y.every(Number.isFinite);
        path.setAttribute("d", finite ? "M" + x.map((at, k) => `${at} ${y[k].toFixed(1)}`).join("L") : "");
      }
      const text = share === 0 || share === 1 ? stages[Math.round(time)] : `towards ${stages[before + 1]}`;
      said.textContent = text;
      slider.setAttribute("aria-valuetext", text);
    };
    let running = 0;
    const stop = () => {
      cancelAnimationFrame(running);
      running = 0;
      play.textContent = "Play";
    };
    slider.addEventListener("input", () => {
      stop();
      move(Number(slider.value));
    });
    play.addEventListener("click", () => {
      if (running) return stop();
      play.textContent = "Stop";
      const start = performance.now();
      const frame = (now) => {
        // Three seconds from stage to stage, half a second of rest at each.
        const second = (now - start) / 1000;
        const time = Math.min(second / 3.5 < 1 ? Math.min(second / 3, 1) : 1 + (second - 3.5) / 3, 2);
        slider.value = time;
        move(time);
        if (time < 2) running = requestAnimationFrame(frame);
        else stop();
      };
      running = requestAnimationFrame(frame);
    });
    const bar = document.createElement("div");
    bar.className = "slider";
    bar.append(play, slider, said);
    figure.prepend(bar);
    move(2);
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
