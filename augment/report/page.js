// Sorting by a click on a heading, Escape closes an enlarged picture, folded tables are printed open.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isNumber = head.classList.contains("number");
      const now = head.getAttribute("aria-sort");
      const rising = now ? now === "descending" : !isNumber;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      table.classList.add("sorted");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => {
        const cell = row.cells[place];
        return { row, key: isNumber ? parseFloat(cell.dataset.value) : cell.textContent };
      });
      keyed.sort((a, b) => {
        if (!isNumber) return a.key.localeCompare(b.key, undefined, { numeric: true }) * (rising ? 1 : -1);
        if (Number.isNaN(a.key) || Number.isNaN(b.key)) return Number.isNaN(a.key) - Number.isNaN(b.key);
        return (a.key - b.key) * (rising ? 1 : -1);
      });
      body.append(...keyed.map((entry) => entry.row));
    });
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const details of document.querySelectorAll(".cases details[open]")) details.open = false;
});
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details.section:not([open])")];
  for (const details of opened) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
