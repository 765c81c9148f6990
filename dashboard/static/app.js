// What pages cannot do alone: parts that are kept up to date, orders that ask first, figures under the pointer.
// Everything works without it.

const state = document.getElementById("live-state");
const TIMEOUT_MS = 15000;
const LATE_TIMEOUT_MS = 100000; // of what takes longer than its page
const SHARE = 0.01; // of the time, as the dashboard has it
const PARTS = document.querySelectorAll("[data-live]").length; // of the page, which share that
const clock = () => new Date().toISOString().slice(11, 19);

// Live parts: <section data-live="/fleet/~live?q=x" data-every-s="5">

let goodSince = clock();

function say(text, away) {
  if (!state) return;
  state.hidden = false;
  state.classList.toggle("away", away);
  if (state.textContent !== text) state.textContent = text;
}

// Whether anything is new, and after how many seconds the gateway may be asked for it again.
async function refresh(part) {
  const found = { changed: true, afterS: 0 };
  const isLate = part.dataset.late !== undefined;
  const began = performance.now();
  let why = "";
  try {
    const signal = AbortSignal.timeout(isLate ? LATE_TIMEOUT_MS : TIMEOUT_MS);
    const answer = await fetch(part.dataset.live, { redirect: "manual", signal });
    if (answer.status === 401 || answer.type === "opaqueredirect") {
      location.reload();
      return found;
    }
    const text = await answer.text();
    if (answer.ok) {
      goodSince = clock();
      part.classList.remove("stale");
      found.changed = part.seen !== text;
      found.afterS = PARTS * Number(answer.headers.get("live-after-s")) || 0;
      if (found.changed) {
        part.seen = text;
        const fresh = document.createElement("template");
        fresh.innerHTML = text;
        become(part, fresh.content);
      }
      say("Live", false);
      return found;
    }
    why = text.length < 400 ? ` ${text}` : "";
  } catch {
    why = " The dashboard does not answer.";
  }
  if (isLate) found.afterS = (PARTS * (performance.now() - began)) / 1000 / SHARE; // it may be worked on all the same
  part.classList.add("stale");
  say(`Not reached since ${goodSince} UTC.${why}`, true);
  return found;
}

// A part with data-late is empty at first: it takes longer than its page. What does not change is asked for less often,
// and so is what takes long; one answer that was late says nothing yet.
const CALMER = 1.5;
const CALMEST = 3;

async function keepUpToDate(part) {
  const everyS = Math.max(1, Number(part.dataset.everyS) || 5);
  let calmS = everyS;
  let afterS = 0;
  if (part.dataset.late === "") {
    ({ afterS } = await refresh(part));
    part.dataset.late = "here";
  }
  let waitS = Math.max(everyS, afterS);
  for (;;) {
    part.dataset.waitS = waitS;
    await new Promise((done) => setTimeout(done, waitS * 1000));
    if (!part.isConnected) return;
    if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    if (document.hidden || part.contains(editing())) continue;
    const before = afterS;
    const found = await refresh(part);
    afterS = found.afterS;
    calmS = found.changed ? everyS : Math.min(calmS * CALMER, everyS * CALMEST);
    waitS = Math.max(calmS, Math.min(before, afterS));
  }
}

const editing = () => {
  const one = document.activeElement;
  return one?.matches("input, select, textarea") ? one : null;
};

// The nodes that are there stay, so that focus, what is open, and where it is scrolled to do too.
const nameOf = (node) => (node.nodeType === 1 ? `${node.nodeName}#${node.id || node.dataset.key || ""}` : node.nodeType);

function become(old, fresh) {
  const wanted = [...fresh.childNodes];
  let at = old.firstChild;
  for (const node of wanted) {
    let found = at;
    while (found && nameOf(found) !== nameOf(node)) found = found.nextSibling;
    if (!found || (found !== at && node.nodeType !== 1)) {
      old.insertBefore(node, at);
      continue;
    }
    while (at !== found) at = remove(at);
    at = found.nextSibling;
    if (found.nodeType !== 1) {
      if (found.data !== node.data) found.data = node.data;
    } else if (!found.isEqualNode(node)) {
      takeAttributes(found, node);
      become(found, node);
    }
  }
  while (at) at = remove(at);
}

function remove(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function takeAttributes(old, fresh) {
  const own = (name) => name === "open" && old.nodeName === "DETAILS";
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !own(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (!own(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

for (const part of document.querySelectorAll("[data-live]")) {
  say("Live", false);
  keepUpToDate(part);
}

// Orders that ask first: what is in <details class="confirm"> is asked in a dialog.

document.addEventListener("click", (event) => {
  const summary = event.target.closest?.(".confirm > summary");
  if (summary) {
    event.preventDefault();
    ask(summary.nextElementSibling, summary);
  }
  const menu = document.querySelector(".menu[open]");
  if (menu && !menu.contains(event.target)) menu.open = false;
});

function ask(form, summary) {
  const dialog = document.createElement("dialog");
  const copy = form.cloneNode(true); // what asks stays as it was asked when the part below it changes
  dialog.append(copy);
  dialog.setAttribute("aria-label", summary.textContent.trim());
  for (const button of copy.querySelectorAll("[data-close]")) {
    button.hidden = false;
    button.type = "button";
    button.addEventListener("click", () => dialog.close());
  }
  copy.addEventListener("submit", () => {
    for (const button of copy.querySelectorAll("[type=submit]")) setTimeout(() => (button.disabled = true));
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  (copy.querySelector("input:not([type=hidden]), select, textarea") || copy.querySelector("[type=submit]"))?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelector(".menu[open]")?.removeAttribute("open");
  if (!editing() && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) {
    document.querySelector(`[data-key-press="${CSS.escape(event.key)}"]`)?.click(); // the page shows which key does what
  }
  if (event.key === "/" && !editing() && !event.ctrlKey && !event.metaKey && !document.querySelector("dialog[open]")) {
    const search = document.querySelector("[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});

// The playground: <form data-streams="…"> asks for each [data-side], and shows what comes.

for (const form of document.querySelectorAll("form[data-streams]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    const sides = [...document.querySelectorAll("[data-side]")];
    await Promise.all(sides.map((side) => stream(form, side)));
    button.disabled = false;
  });
}

async function stream(form, side) {
  const [note, fault, answer] = ["note", "fault", "answer"].map((name) => side.querySelector(`[data-${name}]`));
  const fields = new URLSearchParams(new FormData(form));
  fields.set("side", side.dataset.side);
  const version = fields.get(side.dataset.side);
  answer.textContent = "";
  fault.hidden = true;
  note.textContent = `${version}: asked`;
  const failed = (text) => {
    fault.querySelector("span").textContent = text;
    fault.hidden = false;
    note.textContent = `${version}: no whole answer`;
  };
  const take = (line) => {
    const said = JSON.parse(line);
    if (said.text) answer.textContent += said.text;
    if (said.done) note.textContent = `${version}: ${said.done}`;
    if (said.fault) failed(said.fault);
  };
  try {
    const got = await fetch(form.dataset.streams, { method: "POST", body: fields, redirect: "manual" });
    if (!got.ok) return failed((await got.text()) || "The dashboard did not take it; log in anew.");
    const reader = got.body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (held + (value || "")).split("\n");
      held = lines.pop();
      lines.filter(Boolean).forEach(take);
      if (done) return;
    }
  } catch {
    failed("The dashboard does not answer.");
  }
}

// Figures under the pointer: what <title> says, at once.

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

document.addEventListener("pointermove", (event) => {
  const strip = event.target.closest?.(".strip");
  const text = strip?.dataset.told ?? strip?.querySelector("title")?.textContent;
  tip.hidden = !text;
  if (!text) return;
  if (!strip.dataset.told) {
    strip.dataset.told = text; // and the browser's own, slower one goes
    strip.querySelector("title").remove();
  }
  tip.textContent = text;
  const wide = tip.offsetWidth;
  const x = event.clientX + 14 + wide > innerWidth ? event.clientX - wide - 14 : event.clientX + 14;
  tip.style.left = `${Math.max(4, x)}px`; // by script, which the policy allows
  tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 10)}px`;
});
