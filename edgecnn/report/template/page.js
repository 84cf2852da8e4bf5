"use strict";
// Everything is on the page already. This hides what was not chosen, sorts, and hands out the document.

const root = document.documentElement;
const theme = document.getElementById("theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
}

function nameTheme() {
  theme.textContent = isDark() ? "Light" : "Dark";
}

theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
prefersDark.addEventListener("change", nameTheme);
theme.hidden = false;
nameTheme();

function choose(row, follow) {
  for (const other of row.parentElement.rows) {
    const details = document.getElementById(other.dataset.details);
    const chosen = other === row;
    other.classList.toggle("chosen", chosen);
    other.querySelector("th button").setAttribute("aria-expanded", String(chosen));
    details.hidden = !chosen;
    if (chosen && follow) {
      details.querySelector("h2").scrollIntoView({ block: "nearest" });
    }
  }
}

// Numbers by value, words by letter; what has no value stays last.
function compare(left, right) {
  const numbers = [Number(left), Number(right)];
  return numbers.some(Number.isNaN) ? left.localeCompare(right, "en", { numeric: true }) : numbers[0] - numbers[1];
}

function sort(head) {
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.cells) {
    other.removeAttribute("aria-sort");
  }
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = head.closest("table").tBodies[0];
  const value = (row) => row.cells[head.cellIndex].dataset.value;
  const known = [...body.rows].filter((row) => value(row) !== undefined);
  const unknown = [...body.rows].filter((row) => value(row) === undefined);
  known.sort((left, right) => compare(value(left), value(right)) * (descending ? -1 : 1));
  body.append(...known, ...unknown);
}

for (const head of document.querySelectorAll("th[data-sort]")) {
  head.querySelector("button").addEventListener("click", () => sort(head));
}

for (const table of document.querySelectorAll("table.rows")) {
  const rows = [...table.tBodies[0].rows];
  for (const row of rows) {
    row.addEventListener("click", () => choose(row, true));
  }
  const hasLayers = (row) => document.querySelector(`#${row.dataset.details} .bars`);
  if (rows.length) {
    choose(rows.find(hasLayers) ?? rows[0], false);
  }
}

for (const button of document.querySelectorAll("[data-download]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const text = document.getElementById(button.dataset.download).textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = button.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
}

// What a screen reader is told of a mark, a mouse may read as well.
for (const mark of document.querySelectorAll("svg [aria-label]")) {
  const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
  title.textContent = mark.getAttribute("aria-label");
  mark.append(title);
}
