"use strict";
// A column's button sorts its table: numbers by size, text by letters, what does not exist last.
function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number(text.replace(/[,*%]/g, ""));
  return text === "-" ? null : Number.isNaN(number) ? text : number;
}
function compared(one, other, direction) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one === "number" && typeof other === "number") return direction * (one - other);
  return direction * String(one).localeCompare(String(other));
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => compared(value(one, column), value(other, column), direction));
    table.tBodies[0].append(...rows);
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  }));
}
