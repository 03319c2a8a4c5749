/* The run at a glance. Bars that name a filter set it. */
const bars = (lines, act) => {
  const most = Math.max(1e-9, ...lines.map(([, count]) => count));
  return el("div", { class: "bars" }, lines.flatMap(([label, count, text, tone, key]) => [
    act ? el("button", { type: "button", on: { click: () => act(key ?? label) } }, String(label)) : el("span", {}, String(label)),
    el("span", { class: "meter" }, el("i", { class: tone || "", style: { width: percent(count, most) } })),
    el("span", { class: "num" }, text ?? many(count)),
  ]));
};
const histogram = (bins, act) => {
  const most = Math.max(1, ...bins.map(([, count]) => count));
  return el("div", { class: "hist" }, bins.map(([label, count], i) => el("button", { type: "button", title: `${label}: ${count}`, "aria-label": `${label}: ${count}`, disabled: !act || !count, on: { click: () => act(i) } },
    el("i", { style: { height: percent(count, most) } }))));
};
const tile = (title, ...children) => el("section", { class: `tile${title.startsWith("Why") ? " wide" : ""}` }, el("h3", {}, title), children);
const big = (text, small) => el("div", { class: "big num" }, text, el("small", {}, small));
const only = (part) => show({ ...EMPTY, ...part });

const stateTile = (f) => tile("Queries", big(many(f.states.kept || 0), `kept of ${many(f.queries)}`),
  el("div", { class: "stack", "aria-hidden": "true" }, page.states.filter((s) => f.states[s]).map((s) => el("i", { class: s[0], style: { flex: String(f.states[s]) } }))),
  el("div", { class: "legend num" }, page.states.filter((s) => s in f.states).flatMap((state) => [
    el("i", { class: `dot ${state[0]}` }), el("button", { type: "button", on: { click: () => only({ state }) } }, state),
    el("span", {}, many(f.states[state])), el("small", {}, `${Math.round(f.queries ? (100 * f.states[state]) / f.queries : 0)} %`)])));
const reasonTile = (f) => {
  const lines = page.states.flatMap((s) => Object.entries(f.reasons[s] || {}).map(([r, n]) => [r, n, null, s[0], { state: s, reason: r }]));
  return tile("Why not kept", lines.length ? bars(lines, only) : nothing("Every query was kept."));
};
const turnTile = (f) => tile("Turns of the kept", f.turns.length
  ? bars(f.turns.map(([n, count]) => [plural(n, "turn"), count, null, "", { state: "kept", turns: String(n) }]), only)
  : nothing("No episode was kept."));
const iouTile = (f) => f.iou === null ? tile("Keyframe IoU", nothing("Nothing was graded.")) : tile("Keyframe IoU",
  big(fixed(f.iou), `mean of the kept; ceiling ${fixed(f.ceiling)}`),
  histogram(f.histogram.map((n, i) => [`IoU ${(i / 10).toFixed(1)} to ${((i + 1) / 10).toFixed(1)}`, n]), (i) => only({ state: "kept", iou: String(i) })),
  el("div", { class: "axis" }, el("span", {}, "0"), el("span", {}, "0.5"), el("span", {}, "1")));
const windowTile = (f) => !f.windows.length ? tile("Answered windows", nothing("No episode was kept.")) : tile("Answered windows",
  big(`${Math.round(100 * f.share)} %`, "of the video, in the mean of the kept"),
  histogram(f.windows.map(([name, n]) => [`${name.replace("-", "–")} ${name === "1" ? "frame" : "frames"}`, n])),
  el("div", { class: "axis" }, el("span", {}, `${f.windows[0][0].replace("-", "–")}${f.windows.length > 1 ? "" : " frames"}`), f.windows.length > 1 && el("span", {}, `${f.windows.at(-1)[0].replace("-", "–")} frames`)));
const leakTile = (f) => {
  const [leaks, traced] = f.leaks;
  return tile("Leak filter", traced ? big(`${((100 * leaks) / traced).toFixed(1)} %`, `hits: ${many(leaks)} of ${plural(traced, "episode")}`) : nothing("No episode was traced."),
    el("p", { class: "soft" }, "Thoughts that betray the outline, the annotation or what was not shown yet."));
};
const timeTile = (f) => tile("Seconds per stage", f.seconds.length ? bars(f.seconds.map(([s, t]) => [s, t, t.toFixed(t < 10 ? 2 : 0)])) : nothing("Not measured."));

const summary = () => {
  const f = page.figures;
  const facts = [
    `Thoughts by ${f.teachers.join(", ")}`, f.graders.length ? `graded by ${f.graders.join(", ")}` : "",
    `vtscot ${f.version}`, f.recipes.length ? `recipe ${f.recipes.join(", ")}` : "", `prompts ${f.prompts}`,
  ];
  const head = document.querySelector("#summary header");
  head.append(el("p", { class: "lead" }, facts.filter(Boolean).join(" · ")),
    el("div", { class: "corner" }, themeSwitch(), button("Keys", help, { "aria-label": "Keys and colours" })));
  if (page.private.length) head.append(el("p", { class: "note" }, `This page holds frames of ${page.private.join(", ")}, whose licence does not allow to pass them on. Keep it to yourself.`));
  head.append(el("div", { class: "tiles" }, stateTile(f), iouTile(f), turnTile(f), windowTile(f), reasonTile(f), leakTile(f), timeTile(f)));
  if (page.settings.length) {
    head.append(el("details", { class: "recipe" }, el("summary", {}, "Budgets and thresholds"),
      el("table", {}, el("tbody", {}, page.settings.map(([key, value]) => el("tr", {}, el("td", {}, key), el("td", { class: "num" }, value)))))));
  }
};

/* Light, dark, or as the system has it; kept for the next page where the browser lets it. */
const THEMES = ["auto", "light", "dark"];
const setTheme = (theme) => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const node of document.querySelectorAll(".theme")) node.textContent = `◐ ${theme}`;
};
const stored = (write) => {
  try {
    if (write) localStorage.setItem("vtscot-theme", write);
    return localStorage.getItem("vtscot-theme");
  } catch (refused) { // some browsers give pages from disk no storage: the choice lasts as long as the page
    return write || null;
  }
};
let theme = THEMES.includes(stored()) ? stored() : "auto";
const nextTheme = () => { theme = THEMES[(THEMES.indexOf(theme) + 1) % 3]; stored(theme); setTheme(theme); };
const themeSwitch = () => button(`◐ ${theme}`, nextTheme, { class: "btn theme", title: "Light, dark, or as the system has it" });
