// The page of a synthetic set: sort, filter, look, accept or reject; decisions stay in this browser.
const data = JSON.parse(document.getElementById("data").textContent);
const by = (id) => document.getElementById(id);
const list = document.querySelector("ul.set");
const cards = [...list.children];
const ids = ["sort", "defect", "decision", "fell", "failed"].filter(by); // "failed" where the filter was on
const controls = Object.fromEntries(ids.map((id) => [id, by(id)]));
const viewer = by("viewer");
const SVG = "http://www.w3.org/2000/svg";
const WORDS = { a: "accepted", r: "rejected" };

// --- decisions: image id -> [token of its bytes, "a" or "r"] ---
let decisions = {};
let past = [];
try {
  decisions = JSON.parse(localStorage.getItem(data.key) || "{}") || {};
} catch {
  tell("This browser keeps nothing for this page: decisions are lost when it is closed.");
}
function tell(text) {
  by("lost").textContent = text;
  by("lost").hidden = false;
}
function decisionOf(image) {
  const found = decisions[image.id];
  return found && found[0] === image.token && found[1] in WORDS ? found[1] : "";
}
function keep() {
  try {
    localStorage.setItem(data.key, JSON.stringify(decisions));
  } catch {
    tell("This browser keeps nothing for this page: decisions are lost when it is closed.");
  }
}
function put(n, choice) {
  const image = data.images[n];
  if (choice) decisions[image.id] = [image.token, choice];
  else delete decisions[image.id];
}

// --- what is shown, in which order ---
let shown = data.images.map((_, n) => n);
let current = 0;
let falling = false;
function ranges() {
  return [...document.querySelectorAll(".range")].map((row) => ({
    field: row.querySelector(".field").value,
    low: row.querySelector(".low").valueAsNumber,
    high: row.querySelector(".high").valueAsNumber,
  }));
}
function passes(image, limits) {
  const { defect, decision, fell, failed } = controls;
  if (defect.value && image.defect !== defect.value) return false;
  if (decision.value && (WORDS[decisionOf(image)] || "undecided") !== decision.value) return false;
  if (fell.value && (fell.value === "yes") !== image.fellBack) return false;
  if (failed && failed.value && (failed.value === "yes") !== !!image.failed) return false;
  return limits.every(({ field, low, high }) => {
    if (Number.isNaN(low) && Number.isNaN(high)) return true;
    const value = image.facts[field];
    return value !== undefined && !(value < low) && !(value > high);
  });
}
function arrange() {
  const limits = ranges();
  const field = controls.sort.value;
  const sign = falling ? -1 : 1;
  const order = data.images.map((_, n) => n);
  if (!field && falling) order.reverse();
  if (field)
    order.sort((a, b) => {
      const [x, y] = [data.images[a].facts[field], data.images[b].facts[field]];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return (x - y) * sign || a - b;
    });
  shown = order.filter((n) => passes(data.images[n], limits));
  const visible = new Set(shown);
  cards.forEach((card, n) => (card.hidden = !visible.has(n)));
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  list.append(...order.map((n) => cards[n]));
  if (focused && !focused.closest("li").hidden) focused.focus();
  const label = field && controls.sort.selectedOptions[0].textContent;
  order.forEach((n) => {
    const value = data.images[n].facts[field];
    cards[n].querySelector(".value").textContent = field && value !== undefined ? number(value) : "";
    cards[n].querySelector(".value").title = label || "";
  });
  for (const strip of document.querySelectorAll(".strip"))
    strip.hidden = controls.defect.value !== "" && strip.dataset.defect !== controls.defect.value;
  if (!visible.has(current) && shown.length) point(shown[0]);
  mark();
}
function number(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}
function mark() {
  const counts = { a: 0, r: 0, "": 0 };
  data.images.forEach((image, n) => {
    const choice = decisionOf(image);
    if (!image.failed) counts[choice]++;
    cards[n].dataset.decision = WORDS[choice] || "";
    cards[n].querySelector(".state").textContent = WORDS[choice] || "";
    const word = WORDS[choice] ? `, ${WORDS[choice]}` : "";
    cards[n].querySelector("button").setAttribute("aria-label", `${image.id}${word}`);
  });
  by("count").textContent =
    `${shown.length} of ${data.images.length} shown. ` +
    `${counts.a} accepted, ${counts.r} rejected, ${counts[""]} undecided.`;
  by("undo").disabled = by("undo2").disabled = past.length === 0;
  by("forget").disabled = Object.keys(decisions).length === 0;
  const ids = data.images.filter((image) => decisionOf(image) === "r").map((image) => image.id);
  const link = by("drop");
  link.textContent = ids.length ? `Download the drop list (${ids.length})` : "Download the drop list";
  if (ids.length) {
    link.href = "data:text/plain;charset=utf-8," + encodeURIComponent(ids.map((id) => id + "\n").join(""));
    link.removeAttribute("aria-disabled");
  } else {
    link.removeAttribute("href");
    link.setAttribute("aria-disabled", "true");
  }
  by("then").hidden = !ids.length;
}

// --- moving and deciding ---
function point(n, focus) {
  cards[current].querySelector("button").tabIndex = -1;
  current = n;
  const button = cards[n].querySelector("button");
  button.tabIndex = 0;
  if (viewer.open) show(n);
  else if (focus) button.focus();
}
function columns() {
  const tops = shown.map((n) => cards[n].offsetTop);
  const first = tops.findIndex((top) => top !== tops[0]);
  return first < 0 ? tops.length : first;
}
function move(step) {
  const place = shown.indexOf(current) + step;
  if (place >= 0 && place < shown.length) point(shown[place], true);
}
function decide(choice) {
  if (!shown.includes(current) || data.images[current].failed) return; // what failed is in no set
  const n = current;
  const place = shown.indexOf(n);
  const next = shown[place + 1] ?? shown[place - 1] ?? n;
  past.push([n, decisions[data.images[n].id]]);
  put(n, choice);
  keep();
  current = n;
  point(next, true);
  arrange();
  if (viewer.open && !shown.length) viewer.close();
  else if (!viewer.open && shown.includes(current)) cards[current].querySelector("button").focus();
}
function undo() {
  const last = past.pop();
  if (!last) return;
  const [n, before] = last;
  if (before) decisions[data.images[n].id] = before;
  else delete decisions[data.images[n].id];
  keep();
  arrange();
  if (shown.includes(n)) point(n, true);
}
function masks() {
  const off = document.body.classList.toggle("bare");
  for (const id of ["masks", "masks2"]) by(id).setAttribute("aria-pressed", String(!off));
}

// --- the viewer ---
let zoomed = false;
let real = 0; // which real defect stands beside the image
let only = null; // a real defect shown alone
let seen = 0; // the image in the viewer
let large = -1; // which of the pictures is enlarged
function make(name, attributes, ...children) {
  const isDrawn = ["svg", "image", "path"].includes(name);
  const made = isDrawn ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function panel(title, image, layers) {
  const [width, height] = image.size;
  const view = zoomed ? image.zoom : [0, 0, width, height];
  const parts = [make("image", { href: data.pictures[image.base], width, height, preserveAspectRatio: "none" })];
  if (layers.patch && image.patch) {
    const [x, y, w, h, href] = image.patch;
    parts.push(make("image", { href, x, y, width: w, height: h, preserveAspectRatio: "none" }));
  }
  if (layers.mask) parts.push(make("path", { d: layers.mask, class: `outline ${layers.kind}` }));
  const drawn = make("svg", { viewBox: view.join(" "), role: "img", "aria-label": title }, ...parts);
  return make("figure", {}, make("figcaption", {}, title), drawn);
}
function lay(panels) {
  panels.forEach((figure, number) => {
    figure.classList.toggle("large", number === large);
    figure.querySelector("svg").addEventListener("click", () => enlarge(number));
  });
}
function enlarge(number) {
  if (number >= viewer.querySelectorAll("figure").length) return;
  large = large === number ? -1 : number;
  again();
  if (large >= 0) viewer.querySelectorAll("figure")[large].scrollIntoView({ block: "nearest" });
}
function again() {
  if (only === null) show(current);
  else showReal(only);
}
function alike(defect) {
  return data.real.map((found, n) => ({ found, n })).filter(({ found }) => found.defect === defect);
}
function show(n) {
  only = null;
  seen = n;
  const image = data.images[n];
  const choice = image.failed ? "failed the filter" : WORDS[decisionOf(image)] || "undecided";
  by("shown").textContent = image.id;
  by("verdict").textContent = `${choice}, ${shown.indexOf(n) + 1} of ${shown.length}`;
  viewer.dataset.decision = choice;
  const panels = [];
  if (image.source) panels.push(panel("source", image, {}));
  if (image.source && image.target) panels.push(panel("target mask", image, { mask: image.target, kind: "target" }));
  panels.push(panel("result", image, { patch: true }));
  panels.push(panel("refined mask", image, { patch: true, mask: image.refined, kind: "refined" }));
  const others = alike(image.defect);
  by("beside").replaceChildren();
  if (others.length) {
    const { found } = others[real % others.length];
    const beside = panel(`real ${image.defect}: ${found.name}`, found, { mask: found.refined, kind: "target" });
    const buttons = others.map(({ found, n: place }, number) => {
      const small = document.querySelector(`button.real[data-n="${place}"] svg`).cloneNode(true);
      const pressed = String(number === real % others.length);
      const button = make("button", { type: "button", "aria-label": `real, ${found.name}`, "aria-pressed": pressed }, small);
      button.addEventListener("click", () => {
        real = number;
        show(current);
        by("few").querySelectorAll("button")[number].focus();
      });
      return button;
    });
    by("beside").append(beside);
    by("few").replaceChildren(...buttons);
    lay([...panels, beside]);
  } else lay(panels);
  by("few").hidden = !others.length;
  by("panels").replaceChildren(...panels);
  const labels = Object.fromEntries(data.fields.map((field) => [field.name, field.label]));
  const facts = Object.entries(image.words).concat(
    Object.entries(image.facts).filter(([name]) => name in labels).map(([name, value]) => [labels[name], number(value)])
  );
  by("facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  open();
  for (const id of ["accept", "reject"]) by(id).disabled = !!image.failed;
}
function showReal(n) {
  only = n;
  const found = data.real[n];
  by("shown").textContent = `real ${found.defect}`;
  by("verdict").textContent = found.name;
  viewer.dataset.decision = "";
  const panels = [
    panel("training image", found, {}),
    panel("its mask", found, { mask: found.refined, kind: "target" }),
  ];
  lay(panels);
  by("panels").replaceChildren(...panels);
  by("beside").replaceChildren();
  by("few").hidden = true;
  by("facts").replaceChildren();
  open();
}
function open() {
  for (const id of ["back", "next", "accept", "reject", "undo2"]) by(id).hidden = only !== null;
  if (!viewer.open) viewer.showModal();
}
function zoom() {
  zoomed = !zoomed;
  by("zoom").setAttribute("aria-pressed", String(zoomed));
  again();
}
viewer.addEventListener("close", () => {
  // The browser has given the focus back to where the viewer was opened; it belongs to what was seen last.
  if (only === null) {
    if (shown.includes(seen)) point(seen, true);
  } else document.querySelector(`button.real[data-n="${only}"]`).focus();
  only = null;
});

// --- wiring ---
for (const control of Object.values(controls)) control.addEventListener("change", arrange);
by("direction").addEventListener("click", (event) => {
  falling = !falling;
  event.target.textContent = falling ? "falling" : "rising";
  event.target.setAttribute("aria-pressed", String(falling));
  arrange();
});
by("add").addEventListener("click", () => {
  by("ranges").append(by("range").content.cloneNode(true));
  const row = by("ranges").lastElementChild;
  row.addEventListener("input", arrange);
  row.querySelector("button").addEventListener("click", () => {
    row.remove();
    arrange();
    by("add").focus();
  });
  row.querySelector("select").focus();
});
by("forget").addEventListener("click", () => {
  if (!confirm("Forget every decision on this page?")) return;
  decisions = {};
  past = [];
  keep();
  arrange();
});
const actions = {
  undo, undo2: undo, masks, masks2: masks, zoom,
  accept: () => decide("a"),
  reject: () => decide("r"),
  back: () => move(-1),
  next: () => move(1),
  close: () => viewer.close(),
};
for (const [id, act] of Object.entries(actions)) by(id).addEventListener("click", act);
cards.forEach((card, n) => {
  const button = card.querySelector("button");
  button.addEventListener("click", () => {
    point(n);
    show(n);
  });
  button.addEventListener("focus", () => point(n));
});
for (const button of document.querySelectorAll("button.real"))
  button.addEventListener("click", () => showReal(Number(button.dataset.n)));
const keys = {
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  ArrowUp: () => viewer.open || move(-columns()),
  ArrowDown: () => viewer.open || move(columns()),
  a: () => decide("a"),
  r: () => decide("r"),
  u: undo,
  m: masks,
  z: () => viewer.open && zoom(),
};
for (let number = 0; number < 5; number++) keys[number + 1] = () => viewer.open && enlarge(number);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!(key in keys) || (only !== null && !"mz12".includes(key))) return;
  if (viewer.open && (key === "ArrowUp" || key === "ArrowDown")) return; // scrolls the viewer
  if (event.target.closest(".strip ul") && key.startsWith("Arrow")) return; // scrolls the strip
  event.preventDefault();
  keys[key]();
});
arrange();
