// The page of a listening study. The server decides what comes next and what counts as heard. This file shows it.
"use strict";

const byId = (id) => document.getElementById(id);
const NAMES = { reference: "Reference", a: "Clip A", b: "Clip B" };
const ANSWERS = [["A", "Clip A"], ["B", "Clip B"], ["None", "Neither fits"], ["Cannot decide", "Cannot decide"]];
const ABOUT = {
  responsible: "Who runs this study", purpose: "What it is for", retention: "Who sees the answers, and for how long",
  withdrawal: "If you change your mind later", contact: "Contact",
};
const TRAINING = {
  "none": "No", "under 3 years": "Yes, for less than 3 years", "3 to 10 years": "Yes, for 3 to 10 years",
  "over 10 years": "Yes, for more than 10 years", "not said": "I would rather not say",
};
const STORAGE = "listening-study-code";
const POLL_MS = 400;
const address = new URLSearchParams(location.search); // an invitation, or what a recruitment site adds

let about = {};
let state = {};
let players = {}; // slot -> { audio, button }
let pairTime = 0; // where clips A and B of a question are, in seconds
let softest = []; // answers to the headphone test's sounds so far
let busy = false;
let reports = Promise.resolve(); // reports of players go out one after the other

async function request(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error("There is no connection. Your answers so far are stored. Please try again in a moment.");
  }
  const content = await reply.json().catch(() => ({ message: "The study cannot be reached now. Please try again later." }));
  if (!reply.ok) throw Object.assign(new Error(content.message), { status: reply.status });
  return content;
}

function notify(message) {
  byId("notice").textContent = message;
  byId("notice").hidden = !message;
  if (message) byId("notice").scrollIntoView({ block: "nearest" });
}

async function step(path, body) {
  if (busy) return;
  busy = true;
  try {
    const next = await request(path, body);
    notify("");
    show(next);
  } catch (error) {
    notify(error.message);
    if (["api/answer", "api/check"].includes(path) && error.status === 409) show(await request("api/state", { code: state.code }).catch(() => state));
  } finally {
    busy = false;
  }
}

function show(next) {
  const same = ["stage", "position", "code", "round"].every((name) => next[name] === state[name]);
  state = next;
  if (next.code) {
    remember(next.code);
    byId("code").hidden = false;
    byId("code").querySelector("b").textContent = next.code;
  }
  if (same) return refresh();
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== (next.stage || "welcome");
  release();
  if (next.stage === "check") showCheck();
  if (next.stage === "question") showQuestion();
  if (next.stage === "closing") showClosing();
  if (next.stage === "done") showDone();
  const heading = byId(next.stage || "welcome").querySelector("h1");
  if (next.stage) heading.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function remember(code) {
  try { localStorage.setItem(STORAGE, code); } catch { /* a private window stores nothing; the code is on the page */ }
}

function rememberedCode() {
  try { return localStorage.getItem(STORAGE) || ""; } catch { return ""; }
}

function button(text, onClick) {
  const node = document.createElement("button");
  node.type = "button";
  node.textContent = text;
  node.addEventListener("click", onClick);
  return node;
}

function showCheck() {
  softest = [];
  byId("softest").replaceChildren(...["First", "Second", "Third"].map((name, tone) => button(name, () => {
    const device = document.querySelector("input[name=device]:checked");
    if (!device) return notify("Please say what you listen with first.");
    if (!players.tones.heard) return notify("Please play the three tones first.");
    softest.push(tone);
    if (softest.length < state.trials) return showTrial();
    const answers = softest;
    softest = [];
    step("api/check", { code: state.code, device: device.value, answers }).then(() => state.stage === "check" && showTrial());
  })));
  showTrial();
}

function showTrial() {
  release();
  const again = state.round ? `, try ${state.round + 1} of ${state.rounds}` : "";
  byId("trial").textContent = `Sound ${softest.length + 1} of ${state.trials}${again}`;
  const audio = new Audio(`check/${state.code}/${state.round * state.trials + softest.length}`);
  const play = byId("tones");
  players = { tones: { audio, button: play, heard: false } };
  play.onclick = () => { audio.currentTime = 0; audio.play().catch(cannotPlay); };
  audio.onplaying = () => { play.classList.add("playing"); players.tones.heard = true; notify(""); };
  audio.onpause = audio.onended = () => play.classList.remove("playing");
  play.focus({ preventScroll: true });
}

function showQuestion() {
  const bar = document.querySelector(".progress");
  bar.setAttribute("aria-valuemax", state.total);
  bar.setAttribute("aria-valuenow", state.answered);
  bar.firstElementChild.style.width = `${(100 * state.answered) / state.total}%`;
  byId("count").textContent = state.practice ? "For practice. This answer does not count." : `Question ${state.answered + 1} of ${state.total}`;
  byId("wording").textContent = state.wording;
  byId("prompt").hidden = !state.prompt;
  byId("prompt").textContent = state.prompt ? `“${state.prompt}”` : "";
  setPairTime(0);
  byId("players").replaceChildren(...state.slots.map(player));
  byId("answers").replaceChildren(...ANSWERS.map(([choice, text]) => {
    const node = button(text, () => answer(choice));
    node.dataset.choice = choice;
    return node;
  }));
  refresh();
}

function showClosing() {
  byId("training").replaceChildren(...about.training.map((value) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "training", value });
    label.className = "tick";
    label.append(input, element("span", TRAINING[value] || value));
    return label;
  }));
}

function showDone() {
  byId("completion").hidden = !state.completion_code;
  byId("completion").querySelector("b").textContent = state.completion_code;
  byId("return").hidden = !state.return_address;
  byId("return").firstElementChild.href = state.return_address;
  byId("credits").hidden = !state.credits.length;
  byId("credits").replaceChildren(element("h2", "Recordings in this study"), ...state.credits.map((line) => element("p", line)));
}

function player(slot) {
  const { position } = state;
  const audio = new Audio(`clip/${state.code}/${position}/${slot}`);
  const node = document.createElement("button");
  node.type = "button";
  node.className = `player ${slot}`;
  for (const part of ["fill", "icon", "name", "heard"]) {
    const span = document.createElement("span");
    span.className = part;
    node.append(span);
  }
  const [, icon, name, heard] = node.children;
  icon.setAttribute("aria-hidden", "true");
  name.textContent = `Play ${NAMES[slot].toLowerCase().replace(/ ([ab])$/, (m) => m.toUpperCase())}`;
  heard.textContent = "not heard yet";
  let polled = 0, playedMs = 0, since = 0;
  node.addEventListener("click", () => {
    if (!audio.paused) return audio.pause();
    const other = { a: players.b, b: players.a }[slot]?.audio;
    if (other && !other.paused) pairTime = other.currentTime;
    stopAll();
    if (other) audio.currentTime = pairTime; // A and B switch in the middle of a clip
    audio.play().catch(cannotPlay);
  });
  audio.addEventListener("playing", () => { since ||= Date.now(); node.classList.add("playing"); report(slot, position, true); });
  for (const event of ["pause", "ended"]) {
    audio.addEventListener(event, () => {
      playedMs += since ? Date.now() - since : 0;
      since = 0;
      node.classList.remove("playing");
      report(slot, position, false);
    });
  }
  audio.addEventListener("ended", () => { if (slot !== "reference") setPairTime(0); });
  audio.addEventListener("timeupdate", () => {
    if (slot === "reference") showShare(node, audio.currentTime / (audio.duration || 1));
    else if (!audio.paused && !audio.ended) setPairTime(audio.currentTime, audio.duration);
    const heardMs = playedMs + (since ? Date.now() - since : 0);
    const due = !audio.paused && heardMs >= 1000 * state.required_s[slot] && Date.now() - polled > POLL_MS;
    if (due && isMissing(slot)) { polled = Date.now(); report(slot, position, true); }
  });
  audio.addEventListener("error", () => {
    if (position === state.position) notify("This clip could not be loaded. Please check your connection and reload the page.");
  });
  players[slot] = { audio, button: node };
  return node;
}

// Says what a player does. A player of a question that is answered by now has nothing more to say.
function report(slot, position, playing) {
  const isCurrent = () => state.stage === "question" && position === state.position;
  reports = reports.then(async () => {
    if (!isCurrent()) return;
    try {
      const listening = await request("api/listen", { code: state.code, position, slot, playing });
      if (!isCurrent()) return;
      state = { ...state, ...listening };
      notify("");
      refresh();
      if (isMissing(slot) && players[slot].audio.ended) loadAgain(slot, false);
    } catch (error) {
      if (!isCurrent() || error.status === 409) return;
      if (error.status === 425) return playing && loadAgain(slot, !players[slot].audio.paused || players[slot].audio.ended);
      notify(error.message);
    }
  });
}

// A server that was restarted does not know how much of the clip this page has, so the page loads it again: from another
// address, because the browser would not load the same one twice.
function loadAgain(slot, play) {
  const { audio } = players[slot];
  audio.src = `${audio.src.split("?")[0]}?${Date.now()}`;
  if (play) audio.play().catch(cannotPlay);
}

function isMissing(slot) {
  return state.missing.includes(slot);
}

function showShare(node, share) {
  if (node) node.querySelector(".fill").style.width = `${100 * share}%`;
}

function setPairTime(seconds, duration) {
  pairTime = seconds;
  const share = seconds / (duration || 1);
  byId("seek").querySelector("input").value = 1000 * share;
  for (const slot of ["a", "b"]) showShare(players[slot]?.button, share);
}

function missingClips() {
  const names = state.missing.map((slot) => (slot === "reference" ? "the reference" : NAMES[slot].replace("Clip", "clip")));
  return names.join(", ").replace(/, ([^,]*)$/, " and $1");
}

function refresh() {
  if (state.stage !== "question") return;
  for (const [slot, { button: node }] of Object.entries(players)) {
    node.querySelector(".heard").textContent = isMissing(slot) ? "not heard yet" : "heard";
  }
  const ready = state.missing.length === 0;
  for (const node of byId("answers").children) node.setAttribute("aria-disabled", String(!ready));
  byId("status").textContent = ready ? "Your answer is stored when you choose it." : `Please listen to ${missingClips()}, then answer.`;
}

function answer(choice) {
  if (state.missing.length) return notify(`Please listen to ${missingClips()} first.`);
  step("api/answer", { code: state.code, position: state.position, choice });
}

function stopAll() {
  for (const { audio } of Object.values(players)) audio.pause();
}

// A player that is not needed any more gives its connection back: browsers allow six.
function release() {
  stopAll();
  for (const { audio } of Object.values(players)) {
    audio.removeAttribute("src");
    audio.load();
  }
  players = {};
}

function cannotPlay(error) {
  if (error.name !== "AbortError") notify("The sound could not be played. Please check your connection, then try again.");
}

// The notice said what to tick. It is ticked now, so the notice goes.
document.addEventListener("change", (event) => { if (["checkbox", "radio"].includes(event.target.type)) notify(""); });
byId("start").addEventListener("click", () => {
  if (!byId("agree").checked) return notify("To take part, please tick that you agree.");
  const recruitment = Object.fromEntries(about.recruitment.filter((name) => address.has(name)).map((name) => [name, address.get(name)]));
  step("api/start", { consent: true, invitation: address.get("invitation"), recruitment });
});
byId("resume").addEventListener("submit", (event) => {
  event.preventDefault();
  step("api/state", { code: byId("typed").value });
});
byId("seek").addEventListener("input", (event) => {
  const { duration } = players.a.audio;
  setPairTime((event.target.value / 1000) * (duration || 0), duration);
  for (const { audio } of [players.a, players.b]) audio.currentTime = pairTime;
});
byId("finish").addEventListener("click", () => {
  const training = document.querySelector("input[name=training]:checked");
  if (!training) return notify("Please choose one of the answers about your musical training.");
  step("api/finish", { code: state.code, training: training.value, comment: byId("comment").value });
});

// Somebody who has started in this browser continues; with a failed headphone test they cannot start anew.
async function welcomeBack(code) {
  const known = code && (await request("api/state", { code }).catch(() => null));
  if (!known) return;
  if (known.stage === "failed" || known.round) return show(known);
  byId("typed").value = code;
  byId("resume").querySelector("h2").textContent = known.stage === "done" ? "You have taken part already" : "Welcome back";
  byId("so-far").textContent = `You have answered ${known.answered} of ${known.total} questions.`;
  byId("so-far").hidden = false;
  byId("welcome").prepend(byId("resume"));
}

function element(name, textContent) {
  return Object.assign(document.createElement(name), { textContent });
}

request("api/study").then(async (study) => {
  about = study;
  byId("consent").replaceChildren(...about.consent.map((text) => element("p", text)));
  const fields = Object.keys(ABOUT).filter((name) => about[name]);
  byId("about").replaceChildren(...fields.flatMap((name) => [element("dt", ABOUT[name]), element("dd", about[name])]));
  if (!address.has("invitation")) await welcomeBack(rememberedCode()); // an invitation finds its participant by itself
  if (about.unfinished.length) notify(`This is a preview. Before the study is sent, its organiser has to fill in: ${about.unfinished.join(", ")}.`);
  byId("welcome").hidden = state.stage !== undefined;
}).catch((error) => notify(error.message));
