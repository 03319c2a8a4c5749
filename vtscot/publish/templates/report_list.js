/* Filters and the list of what they leave. */
const PER_PAGE = 30;
let found = rows;

const values = (pick) => [...new Set(rows.map(pick).filter((v) => v !== null && v !== 0))].sort();
const choice = (key, label, options) => el("select", { id: `by-${key}`, hidden: options.length < 2, "aria-label": label, on: { change: (e) => change({ [key]: e.target.value }) } },
  el("option", { value: "" }, label), options.map(([value, text]) => el("option", { value }, text)));
const pressed = (label, props) => el("button", { type: "button", class: "btn chip", "aria-pressed": "false", ...props }, label);
const filters = () => {
  const form = byId("filters");
  form.append(el("div", { class: "filters" },
    el("input", { type: "search", id: "by-q", placeholder: "Search", "aria-label": "Search ids, expressions and reasons", on: { input: (e) => change({ q: e.target.value }) } }),
    pressed("thoughts, too", { id: "by-in", on: { click: () => change({ in: view.in ? "" : "thoughts" }) } }),
    el("div", { class: "chips" }, page.states.map((state) => pressed([el("i", { class: `dot ${state[0]}` }), `${state} ${many(page.figures.states[state] || 0)}`],
      { "data-state": state, on: { click: () => change({ state: view.state === state ? "" : state, reason: "" }) } }))),
    choice("reason", "Any reason", values((row) => row.reason).map((r) => [r, r])),
    choice("turns", "Any turns", values((row) => row.turns).map((n) => [n, plural(n, "turn")])),
    choice("source", "Any source", values((row) => row.source).map((s) => [s, s])),
    choice("iou", "Any IoU", values((row) => row.iou).length ? [...Array(10).keys()].map((i) => [String(i), `IoU ${i / 10} to ${(i + 1) / 10}`]) : []),
    choice("sort", "By id", Object.entries(ORDERS).map(([key, [label]]) => [key, label])),
    button("✕", () => change({ ...EMPTY }), { id: "clear", "aria-label": "Clear all filters", title: "Clear all filters" }),
    el("span", { class: "count num", id: "count", role: "status" })));
  form.addEventListener("submit", (event) => { event.preventDefault(); byId("list").querySelector(".row")?.focus(); });
};
const showFilters = () => {
  for (const key of ["reason", "turns", "source", "iou", "sort", "q"]) if (byId(`by-${key}`).value !== view[key]) byId(`by-${key}`).value = view[key];
  for (const chip of document.querySelectorAll("[data-state]")) chip.setAttribute("aria-pressed", String(chip.dataset.state === view.state));
  byId("by-in").setAttribute("aria-pressed", String(Boolean(view.in)));
  byId("clear").hidden = address({ ...view, id: "", page: 1 }) === "#";
  const progress = view.q && view.in && partsRead < page.begins.length ? `, thoughts ${Math.round((100 * partsRead) / page.begins.length)} % read` : "";
  byId("count").textContent = `${many(found.length)} of ${many(rows.length)}${progress}`;
};

const listRow = (row) => el("a", { class: `row ${row.state}`, href: address({ ...view, id: row.id }), "data-place": row.place },
  el("span", { class: "thumb pic" }),
  el("span", { class: "what" }, el("b", {}, quoted(row.expression)), el("small", {}, row.id),
    row.reason && el("small", { class: "why" }, el("b", {}, row.reason), row.detail ? ` ${row.detail}` : "")),
  el("span", { class: "facts num" }, el("span", { class: `badge ${row.state[0]}` }, row.state),
    row.turns > 0 && el("span", {}, plural(row.turns, "turn")), row.iou !== null && el("span", {}, `IoU ${fixed(row.iou)}`)));
const fillThumbs = (shown) => {
  for (const row of shown.filter(({ turns }) => turns)) {
    const [part, at] = partOf(row.place);
    load("thumbs", part).then((thumbs) => {
      const place = document.querySelector(`[data-place="${row.place}"] .thumb`);
      if (place && !place.firstChild && thumbs[at]) place.append(...outlined(...thumbs[at], ""));
    }, complain);
  }
};
const complain = (error) => { byId("list").prepend(el("p", { class: "note", role: "alert" }, error.message)); };

let pages = 1;
const drawList = () => {
  pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  view.page = Math.min(view.page, pages);
  const shown = found.slice((view.page - 1) * PER_PAGE, view.page * PER_PAGE);
  byId("list").replaceChildren(...(shown.length ? shown.map(listRow) : [nothing("No query matches.")]));
  fillThumbs(shown);
  const step = (label, by) => button(label, () => turnPage(by), { disabled: view.page + by < 1 || view.page + by > pages });
  byId("pager").replaceChildren(...(pages > 1 ? [step("← Previous", -1), el("span", { class: "num" }, `${many(view.page)} / ${many(pages)}`), step("Next →", 1)] : []));
};
const drawFound = () => {
  found = search();
  showFilters();
  if (view.id) drawBar(rows[placeOf.get(view.id)]);
  else drawList();
};
const turnPage = (by) => {
  if (view.page + by < 1 || view.page + by > pages) return;
  show({ ...view, page: view.page + by });
  byId("filters").scrollIntoView({ behavior: "instant" });
};
const jump = (by) => {
  const all = [...document.querySelectorAll(".row")];
  const at = all.indexOf(document.activeElement);
  const target = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
  if (target) { target.focus({ preventScroll: true }); target.scrollIntoView({ block: "nearest" }); }
};
