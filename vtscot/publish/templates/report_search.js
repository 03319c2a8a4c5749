/* What is shown is in the address, so that any view and any episode can be linked to. */
const EMPTY = { id: "", q: "", in: "", state: "", reason: "", turns: "", source: "", iou: "", sort: "", page: 1 };
let view = { ...EMPTY };

const fromAddress = () => {
  const text = location.hash.slice(1);
  const given = new URLSearchParams(text);
  const next = { ...EMPTY };
  for (const key of Object.keys(EMPTY)) if (given.has(key)) next[key] = given.get(key);
  next.page = Math.max(1, Number.parseInt(next.page, 10) || 1);
  try {
    if (placeOf.has(decodeURIComponent(text))) next.id = decodeURIComponent(text); // an id alone
  } catch (malformed) { // no address of ours: everything is shown
    return next;
  }
  return next;
};
const address = (next) => {
  const said = Object.entries(next).filter(([key, value]) => String(value) !== String(EMPTY[key]));
  return `#${new URLSearchParams(said).toString().replaceAll("%2F", "/")}`;
};

/* Words that must all be there, in the row, or in the thoughts as well. */
const haystacks = rows.map((row) => `${row.id}\n${row.expression}\n${row.reason || ""}\n${row.detail}`.toLowerCase());
const thoughts = [];
const thoughtsOf = (episode) => (episode ? episode.turns.map((turn) => Object.values(turn.thought).join("\n")).join("\n").toLowerCase() : "");
let partsRead = 0;
let reading = false;
const readThoughts = async () => {
  if (reading || partsRead === page.begins.length) return;
  reading = true;
  let said = performance.now();
  try {
    while (partsRead < page.begins.length && view.in) {
      const part = await read("episodes", partsRead); // past the cache, which is for what is looked at
      part.forEach((episode, i) => { thoughts[page.begins[partsRead] + i] = thoughtsOf(episode); });
      partsRead += 1;
      if (performance.now() - said > 300) { said = performance.now(); drawFound(); }
    }
  } finally {
    reading = false;
  }
  drawFound();
};

const ORDERS = {
  iou: ["Lowest IoU first", (a, b) => (a.iou ?? 2) - (b.iou ?? 2)],
  "-iou": ["Highest IoU first", (a, b) => (b.iou ?? -1) - (a.iou ?? -1)],
  "-turns": ["Most turns first", (a, b) => b.turns - a.turns],
  "-difficulty": ["Hardest first", (a, b) => (b.difficulty ?? -1) - (a.difficulty ?? -1)],
};
const matches = (row, words) =>
  (!view.state || row.state === view.state) && (!view.reason || row.reason === view.reason) &&
  (!view.source || row.source === view.source) && (!view.turns || String(row.turns) === view.turns) &&
  (!view.iou || (row.iou !== null && String(Math.min(9, Math.floor(row.iou * 10))) === view.iou)) &&
  words.every((word) => haystacks[row.place].includes(word) || (view.in && thoughts[row.place] && thoughts[row.place].includes(word)));
const search = () => {
  const words = view.q.toLowerCase().split(/\s+/).filter(Boolean);
  const found = rows.filter((row) => matches(row, words));
  if (ORDERS[view.sort]) found.sort((a, b) => ORDERS[view.sort][1](a, b) || a.place - b.place);
  return found;
};
