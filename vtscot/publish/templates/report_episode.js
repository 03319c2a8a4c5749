/* One episode: per turn what was shown, what was thought beside what was visible, and what was found. */
const PARTS = { temporal: "When", spatial: "Where", linguistic: "Which words", action: "What next" };
const visible = (episode, index) => (episode.spans === null ? null : episode.spans.some(([a, b]) => a <= index && index <= b));

/* Frame numbers that a thought names, with their places in the text: "frame 3", "frames 3, 5 and 9", "frames 3 to 9". */
const NAMED = /\bframes?\s+\d+(?:(?:\s*(?:,|–|-|\band\b|\bto\b|\bor\b|\bthrough\b|\buntil\b)\s*)+(?:frames?\s+)?\d+)*/gi;
const namedFrames = (text) => {
  const numbers = [];
  for (const phrase of text.matchAll(NAMED)) {
    for (const number of phrase[0].matchAll(/\d+/g)) numbers.push({ at: phrase.index + number.index, text: number[0], index: Number(number[0]) });
  }
  return numbers;
};
const KINDS = { seen: "the target is visible here", unseen: "the target is not visible here", unshown: "this frame was not shown yet", shown: "shown" };
const kindOf = (episode, shown, index) => {
  if (!shown.has(index)) return "unshown";
  const there = visible(episode, index);
  return there === null ? "shown" : there ? "seen" : "unseen";
};
const withNumbers = (text, episode, shown) => {
  const nodes = [];
  let end = 0;
  for (const { at, text: number, index } of namedFrames(text)) {
    const kind = kindOf(episode, shown, index);
    nodes.push(text.slice(end, at), el("mark", { class: kind, title: `frame ${index}: ${KINDS[kind]}` }, number));
    end = at + number.length;
  }
  return [...nodes, text.slice(end)];
};

/* The frames shown in stretches in which the target is visible, or is not. */
const stretches = (episode, turn) => {
  const found = [];
  for (const [index] of turn.shown) {
    const there = visible(episode, index);
    if (!found.length || found.at(-1).there !== there) found.push({ there, frames: [] });
    found.at(-1).frames.push(index);
  }
  return found;
};
const marks = (episode, shown, frames) => frames.flatMap((index, i) => [i ? ", " : "", el("mark", { class: kindOf(episode, shown, index) }, String(index))]);
const shownTable = (episode, turn, shown) => {
  const named = [...new Set(namedFrames(turn.thought.temporal).map(({ index }) => index))].sort((a, b) => a - b);
  const here = new Set(turn.shown.map(([index]) => index));
  const line = (label, state, frames) => el("tr", {}, el("td", {}, label), el("td", {}, state), el("td", {}, frames.length ? marks(episode, shown, frames) : "–"));
  const lines = stretches(episode, turn).map(({ there, frames }) => line(
    frames.length > 4 ? `${frames[0]} … ${frames.at(-1)} (${frames.length})` : frames.join(", "),
    there === null ? "no target" : there ? "● visible" : "○ not visible",
    named.filter((index) => frames.includes(index))));
  const earlier = named.filter((index) => !here.has(index) && shown.has(index));
  const never = named.filter((index) => !shown.has(index));
  if (earlier.length) lines.push(line("in earlier turns", "", earlier));
  if (never.length) lines.push(line("not shown yet", "", never));
  return el("table", { class: "shown num" }, el("caption", {}, "What was visible"), el("thead", {}, el("tr", {}, el("th", {}, "Shown"), el("th", {}, "Target"), el("th", { title: "frames that “When” names" }, "Named"))), el("tbody", {}, lines));
};

const filmFrame = (episode, pictures, named, decoded, size, [index, role, place]) => {
  const there = visible(episode, index);
  const label = `frame ${index}, ${role}${there === null ? "" : there ? ", target visible" : ", target not visible"}${named.has(index) ? ", named in the thought" : ""}`;
  return el("figure", { class: `${role}${index === decoded ? " decoded" : ""}${there ? " there" : ""}${named.has(index) ? " named" : ""}`, title: label },
    el("img", { src: `data:image/jpeg;base64,${pictures[place]}`, alt: label, width: size[0], height: size[1], decoding: "async" }),
    el("figcaption", {}, String(index)));
};
const film = (episode, turn, pictures) => {
  const named = new Set(namedFrames(turn.thought.temporal).map(({ index }) => index));
  return el("div", { class: "film", tabindex: "0", role: "group", "aria-label": `${turn.shown.length} frames shown` },
    el("div", { class: "reel" }, turn.shown.map((shown) => filmFrame(episode, pictures, named, turn.sharp.frame, turn.sharp.size, shown))));
};
const sharp = (episode, turn, pictures) => {
  const { frame: index, picture, size, mask } = turn.sharp;
  const g = turn.grounding;
  const lines = [`Frame ${index}`];
  if (g) lines.push(`IoU ${fixed(g.iou)}`, `ceiling ${fixed(g.ceiling)}${g.gradable ? "" : ", too low to grade"}`, !g.boxes || g.boxes.length ? "" : "nothing found here");
  if (episode.spans === null) lines.push("there is no target");
  else if (!visible(episode, index)) lines.push("the target is not here");
  else if (!mask) lines.push("its mask is not at hand");
  return el("figure", { class: "sharp" },
    el("div", { class: "pic" }, outlined(pictures[picture], ...size, mask, `frame ${index} with the target and what was found`, (g && g.boxes) || [])),
    el("figcaption", { class: "num" }, lines.filter(Boolean).map((text) => el("span", {}, text))));
};
const spans = (list) => list.map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(", ");
const timeline = (episode, [start, end, key]) => {
  const at = (i) => percent(i, episode.frames);
  const seen = (episode.spans || []).map(([a, b]) => el("i", { class: "seen", style: { left: at(a), width: at(b - a + 1) } }));
  return el("div", { class: "line", "aria-hidden": "true" }, el("i", { class: "base" }), seen,
    el("i", { class: "win", style: { left: at(start), width: at(end - start + 1) } }), el("i", { class: "tick", style: { left: at(key + 0.5) } }));
};
const spell = (episode, [start, end, key]) => {
  const target = episode.spans === null ? "no target" : episode.spans.length ? `target visible in ${spans(episode.spans)}` : "target never visible";
  return el("p", { class: "spell num" }, "window ", el("b", {}, `${start}–${end}`), ", keyframe ", el("b", {}, String(key)), ` of ${episode.frames} frames; ${target}`);
};
const turnNode = (episode, pictures, n, shown) => {
  const turn = episode.turns[n];
  const said = (part) => el("div", { class: part }, el("dt", {}, PARTS[part]), el("dd", {}, withNumbers(turn.thought[part], episode, shown)));
  return el("section", { class: "turn" },
    el("h3", {}, `Turn ${n} `, el("em", {}, turn.action === "answer" ? "answers" : "looks again")),
    film(episode, turn, pictures), sharp(episode, turn, pictures),
    el("div", { class: "side" }, timeline(episode, turn.window), spell(episode, turn.window),
      el("dl", {}, el("div", { class: "beside" }, said("temporal"), shownTable(episode, turn, shown)), ["spatial", "linguistic", "action"].map(said))));
};

const check = (c) => {
  const numbers = c.value === null ? "" : ` ${fixed(c.value)}${c.threshold === null ? "" : ` / ${fixed(c.threshold)}`}`;
  return el("li", { class: c.passed ? "" : "no", title: c.detail || null }, `${c.passed ? "✓" : "✗"} ${c.name}${numbers}`, !c.passed && c.detail ? `: ${c.detail}` : "");
};
const checksNode = (checks) => {
  const list = (some) => el("ul", { class: "checks", "aria-label": "Checks" }, some.map(check));
  const [failed, passed] = [checks.filter((c) => !c.passed), checks.filter((c) => c.passed)];
  return el("div", {}, failed.length > 0 && list(failed), passed.length > 0 && el("details", { class: "passed", open: matchMedia("(min-width: 761px)").matches }, el("summary", {}, `${plural(passed.length, "check")} passed`), list(passed)));
};
const headNode = (row, episode) => el("header", {},
  el("div", { class: "top" }, el("span", { class: `badge ${row.state[0]}` }, row.state), el("h2", {}, quoted(row.expression))),
  el("div", { class: "meta num" }, el("span", {}, row.id), row.turns > 0 && el("span", {}, plural(row.turns, "turn")),
    row.iou !== null && el("span", {}, `keyframe IoU ${fixed(row.iou)}`), episode && episode.spans === null && el("span", {}, "no target"), row.difficulty !== null && el("span", {}, `difficulty ${fixed(row.difficulty)}`),
    episode && el("span", {}, `thoughts by ${episode.teacher}, graded by ${episode.grader}`)),
  row.reason && el("p", { class: "why" }, el("b", {}, row.reason), row.detail ? ` ${row.detail}` : "", row.retryable ? " (may be tried again)" : ""));

/* The teacher's answers as they came: the text of a completion, and the whole body below it. */
const contentOf = (body) => {
  try {
    const message = JSON.parse(body).choices[0].message;
    return typeof message.content === "string" ? message.content : JSON.stringify(message, null, 1);
  } catch (broken) { // it is shown as it is: that is what it is here for
    return null;
  }
};
const answerNode = ([turn, question, attempt, body]) => {
  const content = contentOf(body);
  return el("section", { class: "answer" }, el("h4", {}, `Turn ${turn}, ${question}${attempt ? `, try ${attempt + 1}` : ""}`), el("pre", {}, content ?? body),
    content === null ? null : el("details", {}, el("summary", {}, "the whole response"), el("pre", {}, body)));
};
const rawNode = (row) => {
  const [part, at] = partOf(row.place);
  if (!page.answered[part]) return null;
  const box = el("div", {});
  const open = async (event) => {
    if (!event.target.open || event.target !== node || box.firstChild) return;
    const answers = (await load("answers", part))[at];
    box.replaceChildren(...(answers.length ? answers.map(answerNode) : [nothing("Nothing was answered about this query.")]));
  };
  const node = el("details", { class: "raw", on: { toggle: (event) => open(event).catch((error) => box.replaceChildren(el("p", { class: "note" }, error.message))) } }, el("summary", {}, "Raw answers of the teacher"), box);
  return node;
};

const LEGEND = "Green: the annotated target. Dashed: what the blind grounder found from the thought alone. The bar shows the video: green where the target is visible, framed the window, yellow the keyframe. Below a film frame: a green bar where the target is visible, a blue one where the temporal thought names the frame.";
const drawBar = (row) => {
  const at = found.indexOf(row);
  const step = (label, by, name) => el("a", { class: "btn", "aria-label": name, href: found[at + by] ? address({ ...view, id: found[at + by].id }) : null }, label);
  const overlay = (name, label) => el("button", { type: "button", class: "btn toggle", "aria-pressed": String(!document.body.classList.contains(`no-${name}`)), on: { click: (e) => {
    e.currentTarget.setAttribute("aria-pressed", String(!document.body.classList.toggle(`no-${name}`)));
  } } }, el("span", { class: "key" }, el("i", { class: name[0] })), label);
  byId("bar").replaceChildren(el("div", { class: "filters" },
    el("a", { class: "btn", href: address({ ...view, id: "" }), id: "back" }, "← All"), at >= 0 && [step("‹", -1, "previous"), step("›", 1, "next")],
    el("span", { class: "num soft" }, at < 0 ? "not in this selection" : `${many(at + 1)} of ${many(found.length)}`),
    el("span", { class: "push" }), overlay("mask", "mask"), overlay("boxes", "box"), themeSwitch()));
};

/* The frame that is graded stands in the middle of its film. */
const centre = () => {
  for (const reel of document.querySelectorAll(".film")) {
    const graded = reel.querySelector(".decoded");
    if (graded) reel.scrollLeft = graded.offsetLeft - (reel.clientWidth - graded.offsetWidth) / 2;
  }
};
const drawEpisode = async (row) => {
  drawBar(row);
  const article = el("article", { class: row.state, tabindex: "-1", "data-id": row.id }, headNode(row, null));
  byId("list").replaceChildren(article);
  byId("pager").replaceChildren();
  const [part, at] = partOf(row.place);
  if (row.turns) {
    const [episodes, pictures] = await Promise.all([load("episodes", part), load("pictures", part)]);
    if (view.id !== row.id) return; // another one was opened meanwhile
    const episode = episodes[at];
    const shown = new Set();
    article.replaceChildren(headNode(row, episode), checksNode(episode.checks),
      ...episode.turns.map((turn, n) => { turn.shown.forEach(([index]) => shown.add(index)); return turnNode(episode, pictures, n, new Set(shown)); }));
  }
  const raw = rawNode(row);
  if (raw) article.append(raw);
  if (row.turns) article.append(el("p", { class: "legend-line" }, LEGEND));
  centre();
  article.dataset.ready = "true";
};
