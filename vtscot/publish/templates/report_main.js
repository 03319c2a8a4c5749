/* Where one is, and the keys. */
const draw = () => {
  const row = rows[placeOf.get(view.id)];
  found = search();
  showFilters();
  document.body.className = document.body.className.replace(/\b(home|one)\b/g, "").trim();
  document.body.classList.add(row ? "one" : "home");
  byId("bar").hidden = !row;
  document.title = row ? `${row.expression.slice(0, 80)} – ${page.title}` : page.title;
  if (row) {
    drawEpisode(row).catch(complain);
  } else {
    if (view.id) complainLater(`There is no query ${view.id} here.`);
    drawList();
  }
  if (view.q && view.in) readThoughts().catch(complain);
};
const complainLater = (text) => { view.id = ""; setTimeout(() => complain(new Error(text))); };
/* Another view of the list takes the place of this one in the history; an episode comes after it. */
const show = (next) => {
  view = { ...EMPTY, ...next };
  history.replaceState(null, "", address(view));
  draw();
};
const change = (part) => show({ ...view, ...part, page: 1 });
const open = (id) => { location.hash = address({ ...view, id }); };

const arrive = () => {
  if (location.hash === "#list") return;
  const before = view;
  view = fromAddress();
  draw();
  if (view.id) {
    scrollTo({ top: 0, behavior: "instant" });
    document.querySelector("article")?.focus({ preventScroll: true });
  } else if (before.id) { // back in the list, at the episode that was open
    const link = document.querySelector(`[data-place="${placeOf.get(before.id)}"]`);
    link?.focus({ preventScroll: true });
    link?.scrollIntoView({ block: "center", behavior: "instant" });
  }
};

const KEYS = [
  [["j", "↓", "→"], "next query, or next episode"], [["k", "↑", "←"], "the one before"], [["Enter"], "open"], [["Esc"], "back to the list"],
  [["n"], "next page of the list"], [["p"], "the page before"], [["/"], "search"], [["m"], "mask on or off"], [["b"], "box on or off"], [["t"], "light or dark"], [["?"], "these keys"]];
const help = () => {
  byId("help").replaceChildren(
    el("h2", {}, "Keys"), el("dl", { class: "keys" }, KEYS.flatMap(([names, does]) => [el("dt", {}, names.map((name) => el("kbd", {}, name))), el("dd", {}, does)])),
    el("h2", {}, "Colours"), el("p", {}, LEGEND),
    el("p", {}, "In thoughts, numbers of frames are ", el("mark", { class: "seen" }, "green"), " where the target is visible, ", el("mark", { class: "unseen" }, "grey"), " where it is not, and ", el("mark", { class: "unshown" }, "struck"), " where the frame was not shown yet."),
    el("form", { method: "dialog" }, el("button", { class: "btn" }, "Close")));
  byId("help").showModal();
};
const neighbour = (by) => {
  const next = found[found.indexOf(rows[placeOf.get(view.id)]) + by];
  if (next && found.includes(rows[placeOf.get(view.id)])) open(next.id);
};
const move = (by) => (view.id ? neighbour(by) : jump(by));
const press = (place) => document.querySelectorAll("#bar .toggle")[place]?.click();
const keys = {
  j: () => move(1), k: () => move(-1), n: () => !view.id && turnPage(1), p: () => !view.id && turnPage(-1),
  "/": () => { if (view.id) byId("back").click(); setTimeout(() => byId("by-q").focus()); },
  m: () => press(0), b: () => press(1), t: nextTheme, "?": help,
  ArrowRight: () => view.id && neighbour(1), ArrowLeft: () => view.id && neighbour(-1),
};
const arrows = { ArrowDown: 1, ArrowUp: -1 };
const escape = () => {
  if (byId("help").open) byId("help").close();
  else if (/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) document.activeElement.blur();
  else if (view.id) byId("back").click();
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") { event.preventDefault(); escape(); return; }
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || byId("help").open) return;
  if (arrows[event.key] && !view.id && event.target.classList.contains("row")) { event.preventDefault(); jump(arrows[event.key]); return; }
  if (event.target.classList.contains("film") && event.key.startsWith("Arrow")) return; // it scrolls
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
window.addEventListener("hashchange", arrive);

setTheme(theme);
summary();
filters();
byId("foot").append(el("p", {}, el("kbd", {}, "j"), " ", el("kbd", {}, "k"), " next and previous · ", el("kbd", {}, "Enter"), " open · ", el("kbd", {}, "Esc"), " back · ", el("kbd", {}, "/"), " search · ", el("kbd", {}, "?"), " all keys"));
arrive();
document.documentElement.dataset.ready = "true";
