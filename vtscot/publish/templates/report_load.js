/* The parts of the data: blocks of this page, or scripts in the folder beside it, loaded when they are needed. */
const KEPT = { thumbs: 60, episodes: 30, pictures: 8, answers: 8 }; // parts in memory, the latest used ones
const loaded = { thumbs: new Map(), episodes: new Map(), pictures: new Map(), answers: new Map() };
const awaited = new Map();

/* The part of a row, and its place in it. */
const partOf = (place) => {
  let low = 0;
  let high = page.begins.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (page.begins[middle] <= place) low = middle; else high = middle - 1;
  }
  return [low, place - page.begins[low]];
};

/* What the scripts of the folder call. */
window.vtscotPart = (key, name, text) => {
  const waiting = awaited.get(name);
  if (!waiting) return;
  if (key === page.key) waiting.resolve(JSON.parse(text));
  else waiting.reject(new Error(`${page.folder}/${name}.js belongs to another build than this page: write both again with vtscot inspect`));
};
const fromFolder = (name) => {
  if (awaited.has(name)) return awaited.get(name).promise; // search and page may want the same part at once
  const script = el("script", { src: `${page.folder}/${name}.js` });
  script.nonce = page.key; // the content policy knows it
  const promise = new Promise((resolve, reject) => {
    const missing = () => reject(new Error(`${page.folder}/${name}.js cannot be read: keep the folder ${page.folder} beside this page, or write both again with vtscot inspect`));
    const over = () => { missing(); awaited.delete(name); script.remove(); }; // of no effect where the part came
    script.addEventListener("error", over);
    script.addEventListener("load", over);
    awaited.set(name, { resolve, reject });
  });
  awaited.get(name).promise = promise;
  document.head.append(script);
  return promise;
};
const read = async (kind, part) => {
  const name = `${kind}-${String(part).padStart(4, "0")}`;
  return page.folder === null ? JSON.parse(byId(name).textContent) : fromFolder(name);
};

/* A promise of a part; the same one for all who ask. */
const load = (kind, part) => {
  const kept = loaded[kind];
  const found = kept.get(part) || read(kind, part);
  kept.delete(part);
  kept.set(part, found);
  found.catch(() => kept.delete(part)); // it may be there the next time
  if (kept.size > KEPT[kind]) kept.delete(kept.keys().next().value);
  return found;
};
