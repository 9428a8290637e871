// The page of a listening study. The server decides what comes next and what counts as heard; this shows it.
"use strict";

const byId = (id) => document.getElementById(id);
const NAMES = { reference: "Reference", a: "Clip A", b: "Clip B" };
const ANSWERS = [["A", "Clip A"], ["B", "Clip B"], ["None", "Neither fits"], ["Cannot decide", "Cannot decide"]];
const KEPT = "listening-study-code";
const POLL_MS = 400;

let state = {};
let players = {}; // slot -> { audio, button }
let busy = false;
let reports = Promise.resolve(); // reports of players go out one after the other

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("No connection. What you answered is stored; please try again in a moment.");
  }
  const made = await reply.json().catch(() => ({ message: "The study is not reachable now. Please try again later." }));
  if (!reply.ok) throw Object.assign(new Error(made.message), { status: reply.status });
  return made;
}

function tell(message) {
  byId("notice").textContent = message;
  byId("notice").hidden = !message;
  if (message) byId("notice").scrollIntoView({ block: "nearest" });
}

async function step(path, body) {
  if (busy) return;
  busy = true;
  try {
    const next = await ask(path, body);
    tell("");
    show(next);
  } catch (error) {
    tell(error.message);
    if (path === "api/answer" && error.status === 409) show(await ask("api/state", { code: state.code }).catch(() => state));
  } finally {
    busy = false;
  }
}

function show(next) {
  const same = next.stage === state.stage && next.position === state.position && next.code === state.code;
  state = next;
  if (next.code) {
    keep(next.code);
    byId("code").hidden = false;
    byId("code").querySelector("b").textContent = next.code;
  }
  if (same) return refresh();
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== (next.stage || "welcome");
  stopAll();
  if (next.stage === "check") showCheck();
  if (next.stage === "question") showQuestion();
  const heading = byId(next.stage || "welcome").querySelector("h1");
  if (next.stage) heading.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function keep(code) {
  try { localStorage.setItem(KEPT, code); } catch { /* a private window keeps nothing; the code is on the page */ }
}

function kept() {
  try { return localStorage.getItem(KEPT) || ""; } catch { return ""; }
}

function button(text, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", onClick);
  return made;
}

function showCheck() {
  const audio = new Audio(`check/${state.code}`);
  const play = byId("beeps");
  play.onclick = () => { audio.currentTime = 0; audio.play().catch(cannotPlay); };
  audio.onplaying = () => { play.classList.add("playing"); tell(""); };
  audio.onpause = audio.onended = () => play.classList.remove("playing");
  players = { beeps: { audio, button: play } };
  byId("counts").replaceChildren(...[2, 3, 4, 5, 6].map((n) => button(String(n), () => {
    const device = document.querySelector("input[name=device]:checked");
    if (!device) return tell("Please say what you listen with first.");
    step("api/check", { code: state.code, device: device.value, beeps: n });
  })));
}

function showQuestion() {
  const bar = document.querySelector(".progress");
  bar.setAttribute("aria-valuemax", state.total);
  bar.setAttribute("aria-valuenow", state.position);
  bar.firstElementChild.style.width = `${(100 * state.position) / state.total}%`;
  byId("count").textContent = `Question ${state.position + 1} of ${state.total}`;
  byId("asked").textContent = state.asked;
  byId("prompt").hidden = !state.prompt;
  byId("prompt").textContent = state.prompt ? `“${state.prompt}”` : "";
  players = {};
  byId("players").replaceChildren(...state.slots.map(player));
  byId("answers").replaceChildren(...ANSWERS.map(([choice, text]) => {
    const made = button(text, () => answer(choice));
    made.dataset.choice = choice;
    return made;
  }));
  refresh();
}

function player(slot) {
  const audio = new Audio(`clip/${state.code}/${state.position}/${slot}`);
  const made = document.createElement("button");
  made.type = "button";
  made.className = `player ${slot}`;
  for (const part of ["fill", "icon", "name", "heard"]) {
    const span = document.createElement("span");
    span.className = part;
    made.append(span);
  }
  const [fill, icon, name, heard] = made.children;
  icon.setAttribute("aria-hidden", "true");
  name.textContent = `Play ${NAMES[slot].toLowerCase().replace(/ ([ab])$/, (m) => m.toUpperCase())}`;
  heard.textContent = "not heard yet";
  let polled = 0;
  made.addEventListener("click", () => {
    if (!audio.paused) return audio.pause();
    stopAll();
    audio.play().catch(cannotPlay);
  });
  audio.addEventListener("playing", () => { made.classList.add("playing"); report(slot, true); });
  for (const event of ["pause", "ended"]) {
    audio.addEventListener(event, () => { made.classList.remove("playing"); report(slot, false); });
  }
  audio.addEventListener("timeupdate", () => {
    fill.style.width = `${(100 * audio.currentTime) / (audio.duration || 1)}%`;
    const due = !audio.paused && audio.currentTime >= state.required_s[slot] && Date.now() - polled > POLL_MS;
    if (due && isMissing(slot)) { polled = Date.now(); report(slot, true); }
  });
  audio.addEventListener("error", () => tell("This clip could not be loaded. Please check your connection and reload the page."));
  players[slot] = { audio, button: made };
  return made;
}

function report(slot, playing) {
  const { code, position } = state;
  reports = reports.then(async () => {
    if (position !== state.position) return;
    try {
      const heard = await ask("api/listen", { code, position, slot, playing });
      if (position === state.position) { state = { ...state, ...heard }; tell(""); refresh(); }
    } catch (error) {
      if (position !== state.position || error.status === 409) return;
      if (error.status === 425) return playing && loadAgain(slot);
      tell(error.message);
    }
  });
}

// A server that was started anew does not know that this page has the clip, so it is asked for again: under another
// address, because the browser would not ask for the same one.
function loadAgain(slot) {
  const { audio } = players[slot];
  const stopped = audio.paused && !audio.ended;
  audio.src = `${audio.src.split("?")[0]}?${Date.now()}`;
  if (!stopped) audio.play().catch(cannotPlay);
}

function isMissing(slot) {
  return state.missing.includes(slot);
}

function whatToHear() {
  const names = state.missing.map((slot) => (slot === "reference" ? "the reference" : NAMES[slot].replace("Clip", "clip")));
  return names.join(", ").replace(/, ([^,]*)$/, " and $1");
}

function refresh() {
  if (state.stage !== "question") return;
  for (const [slot, { button: made }] of Object.entries(players)) {
    made.querySelector(".heard").textContent = isMissing(slot) ? "not heard yet" : "heard";
  }
  const ready = state.missing.length === 0;
  for (const made of byId("answers").children) made.setAttribute("aria-disabled", String(!ready));
  byId("status").textContent = ready ? "Your answer is stored as soon as you choose it." : `Please listen to ${whatToHear()}, then answer.`;
}

function answer(choice) {
  if (state.missing.length) return tell(`Please listen to ${whatToHear()} first.`);
  step("api/answer", { code: state.code, position: state.position, choice });
}

function stopAll() {
  for (const { audio } of Object.values(players)) audio.pause();
}

function cannotPlay(error) {
  if (error.name !== "AbortError") tell("The sound could not be played. Please check your connection, then try again.");
}

// A box that was asked for is ticked now: what asked for it would only confuse.
document.addEventListener("change", (event) => { if (["checkbox", "radio"].includes(event.target.type)) tell(""); });
byId("start").addEventListener("click", () => {
  if (!byId("agree").checked) return tell("To take part, please tick that you agree.");
  step("api/start", { consent: true });
});
byId("resume").addEventListener("submit", (event) => {
  event.preventDefault();
  step("api/state", { code: byId("typed").value });
});

// Whoever has begun in this browser is led back, and not in for a second time.
async function welcomeBack(code) {
  const known = code && (await ask("api/state", { code }).catch(() => null));
  if (!known) return;
  byId("typed").value = code;
  byId("resume").querySelector("h2").textContent = known.stage === "done" ? "You have taken part already" : "Welcome back";
  byId("so-far").textContent = `${known.position} of ${known.total} questions are answered.`;
  byId("so-far").hidden = false;
  byId("welcome").prepend(byId("resume"));
}

ask("api/study").then(async (about) => {
  byId("consent").replaceChildren(...about.consent.map((text) => Object.assign(document.createElement("p"), { textContent: text })));
  byId("contact").hidden = !about.contact;
  byId("contact").textContent = `Questions? ${about.contact}`;
  await welcomeBack(kept());
  byId("welcome").hidden = false;
}).catch((error) => tell(error.message));
