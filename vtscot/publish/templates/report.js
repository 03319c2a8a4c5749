"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const page = read("page");
  const pictures = read("pictures");
  const PER_PAGE = 20;
  const STATES = ["kept", "rejected", "failed", "skipped"];
  const PARTS = { temporal: "When", spatial: "Where", linguistic: "Which words", action: "What next" };
  const EMPTY = { state: "", reason: "", turns: "", source: "", q: "", page: 1 };
  let filter = { ...EMPTY };

  /* An element: properties, then children; text becomes text nodes and never markup. */
  const el = (tag, props = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(props)) {
      if (key === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
      else if (key === "style") Object.assign(node.style, value);
      else if (key === "class") node.className = value;
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  };
  const svg = (tag, props, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(props)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const percent = (part, whole) => `${whole ? (100 * part) / whole : 0}%`;
  const fixed = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
  const source = (place) => `data:image/jpeg;base64,${pictures[place]}`;

  /* ---- Summary ---- */
  const bars = (rows, act) => {
    const most = Math.max(1e-9, ...rows.map(([, count]) => count));
    return el("div", { class: "bars" }, rows.flatMap(([label, count, text, tone, key]) => [
      act ? el("button", { type: "button", on: { click: () => act(key ?? label) } }, String(label)) : el("span", {}, String(label)),
      el("span", { class: "meter" }, el("i", { class: tone || "", style: { width: percent(count, most) } })),
      el("span", { class: "num" }, text ?? String(count)),
    ]));
  };
  const tile = (title, ...children) => el("section", { class: "tile" }, el("h3", {}, title), children);
  const nothing = (text) => el("p", { class: "empty" }, text);

  const stateTile = (f) => tile("Queries",
    el("div", { class: "big num" }, f.states.kept.toLocaleString("en"), el("small", {}, `kept of ${f.queries.toLocaleString("en")}`)),
    el("div", { class: "stack", "aria-hidden": "true" }, STATES.filter((s) => f.states[s]).map((s) => el("i", { class: s[0], style: { flex: String(f.states[s]) } }))),
    el("div", { class: "legend num" }, STATES.flatMap((state) => [
      el("i", { class: `dot ${state[0]}` }), el("button", { type: "button", on: { click: () => go({ ...EMPTY, state }) } }, state),
      el("span", {}, f.states[state].toLocaleString("en")), el("small", {}, `${Math.round(f.queries ? (100 * f.states[state]) / f.queries : 0)} %`)])));
  const reasonTile = (f) => {
    const rows = STATES.flatMap((s) => Object.entries(f.reasons[s] || {}).map(([r, n]) => [r, n, null, s[0], [s, r]]));
    return tile("Why not kept", rows.length ? bars(rows, ([state, reason]) => go({ ...EMPTY, state, reason })) : nothing("Every query was kept."));
  };
  const turnTile = (f) => tile("Turns of the kept", f.turns.length
    ? bars(f.turns.map(([n, count]) => [plural(n, "turn", "turns"), count, null, "", String(n)]), (turns) => go({ ...EMPTY, state: "kept", turns }))
    : nothing("No episode was kept."));
  const iouTile = (f) => {
    if (f.iou === null) return tile("Keyframe IoU", nothing("Nothing was graded."));
    const most = Math.max(1, ...f.histogram);
    return tile("Keyframe IoU",
      el("div", { class: "big num" }, fixed(f.iou), el("small", {}, `mean of the kept; ceiling ${fixed(f.ceiling)}`)),
      el("div", { class: "hist", role: "img", "aria-label": `Episodes per tenth of IoU: ${f.histogram.join(", ")}` },
        f.histogram.map((n, i) => el("i", { title: `${(i / 10).toFixed(1)} to ${((i + 1) / 10).toFixed(1)}: ${n}`, style: { height: percent(n, most) } }))),
      el("div", { class: "axis" }, el("span", {}, "0"), el("span", {}, "0.5"), el("span", {}, "1")));
  };
  const timeTile = (f) => tile("Seconds per stage", f.seconds.length ? bars(f.seconds.map(([s, t]) => [s, t, t.toFixed(t < 10 ? 2 : 0)])) : nothing("Not measured."));

  const summary = () => {
    const f = page.figures;
    const facts = [
      `Thoughts by ${f.teachers.join(", ")}`, f.graders.length ? `graded by ${f.graders.join(", ")}` : "",
      f.leaks[1] ? `leak filter: ${f.leaks[0]} of ${f.leaks[1]} episodes (${((100 * f.leaks[0]) / f.leaks[1]).toFixed(1)} %)` : "",
      `vtscot ${f.version}`, f.recipes.length ? `recipe ${f.recipes.join(", ")}` : "", `prompts ${f.prompts}`,
    ];
    const node = document.getElementById("summary");
    node.append(el("p", { class: "lead" }, facts.filter(Boolean).join(" · ")));
    if (page.private.length) node.append(el("p", { class: "note" }, `This page holds frames of ${page.private.join(", ")}, whose licence does not allow to pass them on. Keep it to yourself.`));
    if (page.pictured[0] < page.pictured[1]) node.append(el("p", { class: "note" }, `Pictures are shown for ${page.pictured[0]} of ${page.pictured[1]} episodes, spread evenly; the others are listed without.`));
    node.append(el("div", { class: "tiles" }, stateTile(f), iouTile(f), turnTile(f), reasonTile(f), timeTile(f)));
    if (page.settings.length) {
      node.append(el("details", { class: "recipe" }, el("summary", {}, "Budgets and thresholds"),
        el("table", {}, el("tbody", {}, page.settings.map(([key, value]) => el("tr", {}, el("td", {}, key), el("td", { class: "num" }, value)))))));
    }
  };

  /* ---- Filters: kept in the address, so that a view can be linked to ---- */
  const haystacks = page.items.map((item) => [
    item.id, item.expression, item.reason || "", item.detail,
    ...(item.turns || []).flatMap((turn) => Object.values(turn.thought)),
  ].join("\n").toLowerCase());
  const matches = (item, i) =>
    (!filter.state || item.state === filter.state) && (!filter.reason || item.reason === filter.reason) &&
    (!filter.source || item.source === filter.source) &&
    (!filter.turns || String(item.turns ? item.turns.length : 0) === filter.turns) &&
    filter.q.toLowerCase().split(/\s+/).every((word) => haystacks[i].includes(word));
  const fromAddress = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    const next = { ...EMPTY };
    for (const key of Object.keys(EMPTY)) if (given.has(key)) next[key] = given.get(key);
    next.page = Math.max(1, Number.parseInt(next.page, 10) || 1);
    return next;
  };
  const toAddress = () => {
    const kept = Object.entries(filter).filter(([key, value]) => String(value) !== String(EMPTY[key]));
    history.replaceState(null, "", `#${new URLSearchParams(kept)}`);
  };
  const go = (next) => { filter = { ...next, page: next.page || 1 }; toAddress(); draw(); };
  const change = (part) => go({ ...filter, ...part, page: 1 });

  const values = (pick) => [...new Set(page.items.map(pick).filter((v) => v !== null && v !== undefined))].sort();
  const choice = (key, label, options) => el("select", { id: `by-${key}`, hidden: options.length < 2, "aria-label": label, on: { change: (e) => change({ [key]: e.target.value }) } },
    el("option", { value: "" }, label), options.map(([value, text]) => el("option", { value }, text)));
  const overlay = (name, label) => el("button", { type: "button", class: "btn chip toggle", "aria-pressed": "true", on: { click: (e) => {
    const off = document.body.classList.toggle(`no-${name}`);
    e.currentTarget.setAttribute("aria-pressed", String(!off));
  } } }, el("span", { class: "key" }, el("i", { class: name[0] })), label);
  const filters = () => {
    const box = el("div", { class: "filters" },
      el("input", { type: "search", id: "by-q", placeholder: "Search", "aria-label": "Search expressions, thoughts and reasons", on: { input: (e) => change({ q: e.target.value }) } }),
      el("div", { class: "chips" }, STATES.map((state) => el("button", { type: "button", class: "btn chip", "data-state": state, "aria-pressed": "false",
        on: { click: () => change({ state: filter.state === state ? "" : state, reason: "" }) } }, el("i", { class: `dot ${state[0]}` }), `${state} ${page.figures.states[state]}`))),
      choice("reason", "Any reason", values((i) => i.reason).map((r) => [r, r])),
      choice("turns", "Any turns", values((i) => (i.turns ? i.turns.length : null)).map((n) => [n, plural(n, "turn", "turns")])),
      choice("source", "Any source", values((i) => i.source).map((s) => [s, s])),
      overlay("mask", "mask"), overlay("boxes", "boxes"),
      el("span", { class: "count num", id: "count", role: "status" }));
    const form = document.getElementById("filters");
    form.append(box);
    form.addEventListener("submit", (event) => event.preventDefault());
  };
  const showFilters = (count) => {
    for (const key of ["reason", "turns", "source", "q"]) {
      const field = document.getElementById(`by-${key}`);
      if (field.value !== filter[key]) field.value = filter[key];
    }
    for (const chip of document.querySelectorAll("[data-state]")) chip.setAttribute("aria-pressed", String(chip.dataset.state === filter.state));
    document.getElementById("count").textContent = `${count.toLocaleString("en")} of ${page.items.length.toLocaleString("en")}`;
  };

  /* ---- One episode ---- */
  const frame = ([index, role, place], { frame: decoded, size }) => el("figure", { class: `${role}${index === decoded ? " decoded" : ""}`, title: `frame ${index}, ${role}` },
    place === null ? el("span", { class: "blank" }) : el("img", { src: source(place), alt: `frame ${index}`, width: size[0], height: size[1], decoding: "async" }),
    el("figcaption", {}, String(index)));
  const film = (turn) => el("div", { class: `film${turn.sharp.picture === null ? " plain" : ""}`, tabindex: "0", role: "group", "aria-label": `${turn.shown.length} frames shown` },
    el("div", { class: "reel" }, turn.shown.map((shown) => frame(shown, turn.sharp))));
  const sharp = (turn) => {
    const { frame: index, picture, size, mask } = turn.sharp;
    const g = turn.grounding;
    const lines = [`Frame ${index}`];
    if (g) lines.push(`IoU ${fixed(g.iou)}`, `ceiling ${fixed(g.ceiling)}${g.gradable ? "" : ", too low to grade"}`, g.boxes.length ? "" : "nothing found here");
    if (picture !== null && !mask) lines.push("the target is not here");
    const caption = el("figcaption", { class: "num" }, lines.filter(Boolean).map((text) => el("span", {}, text)));
    if (picture === null) return el("figure", { class: "sharp" }, caption);
    const [width, height] = size;
    const marks = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    if (mask) marks.append(svg("path", { d: mask }));
    for (const [x, y, w, h] of g ? g.boxes : []) marks.append(svg("rect", { x, y, width: w, height: h }));
    return el("figure", { class: "sharp" },
      el("div", { class: "pic" }, el("img", { src: source(picture), width, height, alt: `frame ${index} with the target and what was found`, decoding: "async" }), marks), caption);
  };
  const spans = (list) => list.map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(", ");
  const line = (item, [start, end, key]) => {
    const at = (i) => percent(i, item.frames);
    const seen = (item.spans || []).map(([a, b]) => el("i", { class: "seen", style: { left: at(a), width: at(b - a + 1) } }));
    return el("div", { class: "line", "aria-hidden": "true" }, el("i", { class: "base" }), seen,
      el("i", { class: "win", style: { left: at(start), width: at(end - start + 1) } }), el("i", { class: "tick", style: { left: at(key + 0.5) } }));
  };
  const spell = (item, [start, end, key]) => {
    const visible = item.spans === null ? "no target" : item.spans.length ? `target visible in ${spans(item.spans)}` : "target never visible";
    return el("p", { class: "spell num" }, "window ", el("b", {}, `${start}–${end}`), ", keyframe ", el("b", {}, String(key)), ` of ${item.frames} frames; ${visible}`);
  };
  const turnNode = (item, turn, n) => el("section", { class: "turn" },
    el("h3", {}, `Turn ${n} `, el("em", {}, turn.action === "answer" ? "answers" : "looks again")),
    film(turn), sharp(turn),
    el("div", { class: "side" }, line(item, turn.window), spell(item, turn.window),
      el("dl", {}, Object.entries(PARTS).map(([part, label]) => el("div", {}, el("dt", {}, label), el("dd", {}, turn.thought[part]))))));
  const check = (c) => {
    const numbers = c.value === null ? "" : ` ${fixed(c.value)}${c.threshold === null ? "" : ` / ${fixed(c.threshold)}`}`;
    return el("li", { class: c.passed ? "" : "no", title: c.detail || null }, `${c.passed ? "✓" : "✗"} ${c.name}${numbers}`, !c.passed && c.detail ? `: ${c.detail}` : "");
  };
  const why = (item) => item.reason === null ? null
    : el("p", { class: "why" }, el("b", {}, item.reason), item.detail ? ` ${item.detail}` : "", item.retryable ? " (may be tried again)" : "");
  const episode = (item) => el("article", { class: item.state, tabindex: "-1" },
    el("header", {},
      el("div", { class: "top" }, el("span", { class: `badge ${item.state[0]}` }, item.state), el("h2", {}, item.expression.trim() ? `“${item.expression.length > 400 ? `${item.expression.slice(0, 400)}…` : item.expression}”` : "(empty expression)")),
      el("div", { class: "meta num" }, el("span", {}, item.id), item.turns && el("span", {}, plural(item.turns.length, "turn", "turns")),
        item.turns && el("span", {}, `keyframe IoU ${fixed(item.iou)}`), item.turns && el("span", {}, `difficulty ${fixed(item.difficulty)}`)),
      why(item)),
    item.checks && item.checks.length ? el("ul", { class: "checks", "aria-label": "Checks" }, item.checks.map(check)) : null,
    (item.turns || []).map((turn, n) => turnNode(item, turn, n)));

  /* ---- The list and its pages ---- */
  const turnPage = (step, pages) => {
    const next = filter.page + step;
    if (next < 1 || next > pages) return;
    go({ ...filter, page: next });
    document.getElementById("filters").scrollIntoView({ behavior: "instant" });
  };
  let pages = 1;
  const draw = () => {
    const found = page.items.filter(matches);
    pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    filter.page = Math.min(filter.page, pages);
    const first = (filter.page - 1) * PER_PAGE;
    const shown = found.slice(first, first + PER_PAGE).map(episode);
    document.getElementById("list").replaceChildren(...(shown.length ? shown : [nothing("No query matches.")]));
    for (const reel of document.querySelectorAll(".film")) { // the frame that is graded stands in the middle of its film
      const graded = reel.querySelector(".decoded");
      if (graded) reel.scrollLeft = graded.offsetLeft - (reel.clientWidth - graded.offsetWidth) / 2;
    }
    const button = (label, step) => el("button", { type: "button", class: "btn", disabled: filter.page + step < 1 || filter.page + step > pages, on: { click: () => turnPage(step, pages) } }, label);
    document.getElementById("pager").replaceChildren(...(pages > 1 ? [button("← Previous", -1), el("span", { class: "num" }, `${filter.page} / ${pages}`), button("Next →", 1)] : []));
    showFilters(found.length);
  };
  const jump = (step) => {
    const all = [...document.querySelectorAll("article")];
    const at = all.indexOf(document.activeElement.closest("article"));
    const target = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step];
    if (target) { target.focus({ preventScroll: true }); target.scrollIntoView({ block: "start" }); }
  };
  const keys = { "/": () => document.getElementById("by-q").focus(), j: () => jump(1), k: () => jump(-1), n: () => turnPage(1, pages), p: () => turnPage(-1, pages) };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") { document.activeElement.blur(); return; }
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  window.addEventListener("hashchange", () => { if (location.hash !== "#list") { filter = fromAddress(); draw(); } });

  summary();
  filters();
  filter = fromAddress();
  draw();
  document.getElementById("foot").append(
    el("p", {}, "Green: the annotated target. Dashed: what the blind grounder found from the thought alone. The bar under a frame shows the video: green where the target is visible, framed the window, yellow the keyframe."),
    el("p", {}, el("kbd", {}, "j"), " ", el("kbd", {}, "k"), " next and previous episode · ", el("kbd", {}, "n"), " ", el("kbd", {}, "p"), " pages · ", el("kbd", {}, "/"), " search"));
  document.documentElement.dataset.ready = "true";
})();
