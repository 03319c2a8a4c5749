/* Elements and words. Text becomes text nodes and never markup. */
const page = JSON.parse(document.getElementById("page").textContent);
const byId = (id) => document.getElementById(id);

/* An element: properties, then children. */
const el = (tag, props = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (key === "style") Object.assign(node.style, value);
    else if (key === "class") node.className = value;
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
};
const svg = (tag, props, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const button = (label, run, props = {}) => el("button", { type: "button", class: "btn", on: { click: run }, ...props }, label);
const nothing = (text) => el("p", { class: "empty" }, text);

const percent = (part, whole) => `${whole ? (100 * part) / whole : 0}%`;
const fixed = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const many = (n) => n.toLocaleString("en");
const plural = (n, one, more = `${one}s`) => `${many(n)} ${n === 1 ? one : more}`;
const quoted = (text) => (text.trim() ? `“${text}”` : "(empty expression)");

/* A picture with the target's outline, in the coordinates of the frame. */
const outlined = (src, width, height, path, alt, boxes = []) => {
  const marks = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (path) marks.append(svg("path", { d: path }));
  for (const [x, y, w, h] of boxes) marks.append(svg("rect", { x, y, width: w, height: h }));
  return [el("img", { src: `data:image/jpeg;base64,${src}`, width, height, alt, decoding: "async" }), marks];
};

/* The rows of the list by name. */
const rows = page.rows.map(([id, source, state, expression, reason, detail, retryable, turns, iou, difficulty], place) => (
  { place, id, source, state: page.states[state], expression, reason, detail, retryable: retryable === 1, turns, iou, difficulty }));
const placeOf = new Map(rows.map((row) => [row.id, row.place]));
