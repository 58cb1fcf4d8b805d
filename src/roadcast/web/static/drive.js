// The driver's page: joins hands, the trip, and what is shown.

import { showFigures } from "./figures.js";
import { Film } from "./film.js";
import { Hands } from "./hands.js";
import { listenToKeys } from "./keys.js";
import { duration } from "./names.js";
import { Pad } from "./pad.js";
import { showHands, showNumbers } from "./readings.js";
import { notice, tell } from "./says.js";
import { settings } from "./settings.js";
import { toLink } from "./share.js";
import { bindSettings, bindShare, show } from "./sheets.js";
import { Start } from "./start.js";
import { showState } from "./states.js";
import { Stats } from "./stats.js";
import { Timeline } from "./timeline.js";
import { pedal, steerBy } from "./touch.js";
import { Trip } from "./trip.js";
import { welcome } from "./welcome.js";

const $ = (id) => document.getElementById(id);
const BACK_S = 2;

const stats = new Stats();
Object.defineProperty(window, "roadcast", { get: () => stats.report() });

const glow = $("ambient").getContext("2d");
const trip = new Trip($("panes"), $("pane"), { state: onState, received: () => stats.received++, drawn: onDrawn, panes: showPanes, taken: () => trip.driven.act(hands), told: tell });
const hands = new Hands(onInput);
const timeline = new Timeline({ slider: $("timeline"), ago: $("ago"), clock: $("clock") }, trip);
const start = new Start(drive, (image) => glow.drawImage(image, 0, 0, 32, 16));
const film = new Film($("record"), $("recording"));

// ---- the driver's side

function drive(ask) {
  film.end();
  notice();
  hands.rest();
  const same = trip.driven?.info?.model === ask.model && document.body.dataset.state !== "ended" && !ask.log;
  if (same) trip.reset(ask.scene, ask.seed);
  else trip.begin(ask);
}

function onInput(time) {
  const pane = trip.driven, moving = hands.steer || hands.throttle || hands.brake;
  if (!pane?.info) return;
  if (trip.replay && moving) trip.takeWheel();
  document.body.classList.add("driven-once");
  const id = pane.act(hands);
  if (!trip.waiting && !trip.replay) stats.pressed(id, time);
}

// What needs a world to act on.
const driving = (command) => () => trip.driven?.info && document.body.dataset.state !== "ended" && command();

const commands = {
  pause: driving(() => (trip.replay?.done ? trip.takeWheel() : trip.pause(!trip.paused))),
  rewind: driving(() => timeline.back(BACK_S)),
  branch: driving(branch),
  swap: driving(() => trip.swap()),
  record: driving(() => (film.on ? film.end() : film.begin(trip.panes, `roadcast ${sceneName()} ${trip.driven.past.start.seed}`))),
  share: driving(share),
  again: driving(() => drive({ model: trip.driven.info.model, ...trip.driven.past.start })),
  fresh,
  full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.()),
  unlimited: driving(() => $("settings-sheet").querySelector("[name=unlimited]").click()),
  settings: () => show("settings-sheet", trip),
  help: () => show("help-sheet", trip),
};
const shortcuts = {
  KeyP: "pause", Backspace: "rewind", KeyB: "branch", KeyT: "swap", KeyV: "record", KeyL: "share", KeyR: "again", KeyN: "fresh", KeyF: "full", KeyU: "unlimited", "?": "help",
};
const pad = new Pad(hands, commands);

function branch() {
  if (!trip.other && start.model(trip.driven.info.model).seats < 2) tell("This server has one seat, and a second future takes another one.");
  else trip.branch();
}

async function share() {
  $("link").value = "";
  show("share-sheet", trip);
  const log = await trip.log(), seconds = trip.driven.step / trip.driven.info.fps;
  $("link").value = await toLink(log);
  $("share-text").textContent = `${sceneName()}, seed ${log.seed}, ${duration(seconds)}. Whoever opens it sees this drive, and can take the wheel.`;
}

function fresh() {
  if (document.body.dataset.state === "queued") trip.end();
  const live = trip.panes.length > 0 && document.body.dataset.state !== "ended";
  start.canGoBack = live;
  $("back").hidden = !live;
  start.see();
  show("start-sheet", trip);
}

function sceneName() {
  const { model, scene } = trip.driven.past.start;
  return start.label(model, scene);
}

// ---- the world's side

function onState(name, detail) {
  $("pause").setAttribute("aria-pressed", name === "paused");
  stats.forget();
  showState(name, detail, { fps: trip.driven?.info?.fps ?? start.model("")?.fps ?? 20, does });
}

const does = {
  resume: () => trip.pause(false),
  takeWheel: () => trip.takeWheel(),
  watch: () => trip.begin(trip.replay.ask),
  retry: () => trip.driven.session.retryNow(),
  goOn: () => trip.begin({ ...trip.driven.past.again(), show: false }),
  fresh,
};

function onDrawn(pane, header, now) {
  if (pane === trip.driven) {
    stats.draw(header, header.receivedAt, now);
    timeline.see(pane, header);
    if (header.first) showFacts();
  }
  film.draw(trip.panes);
}

function showFacts() {
  const { info: facts, past } = trip.driven;
  $("name").textContent = facts.model;
  $("facts").textContent = `${sceneName()}, seed ${past.start.seed}`;
  document.title = `${facts.model} \u2013 roadcast`;
  document.body.style.setProperty("--aspect", facts.width / facts.height);
}

function showPanes() {
  stats.forget();
  showFigures(trip);
  $("branch").setAttribute("aria-pressed", trip.panes.length > 1);
}

// ---- all of it together

listenToKeys(hands, commands, shortcuts);
steerBy($("thumb"), hands);
pedal($("throttle"), "throttle", hands);
pedal($("brake"), "brake", hands);
for (const id of ["pause", "rewind", "branch", "record", "share", "fresh", "settings", "full", "help"]) {
  $(id).addEventListener("click", (event) => {
    commands[id]();
    if (event.detail > 0) $(id).blur(); // clicked, not tabbed to: the space bar stays the brake
  });
}
$("keys").addEventListener("click", () => {
  $("settings-sheet").close();
  commands.help();
});
bindShare();

document.addEventListener("visibilitychange", () => {
  hands.release();
  trip.hold();
});
addEventListener("pagehide", () => trip.panes.forEach((pane) => pane.session.close())); // a page kept for the back button must not keep seats
addEventListener("pageshow", (event) => event.persisted && trip.driven?.past && does.goOn());
addEventListener("hashchange", () => location.reload());

const look = () => document.body.classList.toggle("crisp", settings.crisp);
look();
setInterval(() => {
  showNumbers(stats, trip.driven?.header);
  if (trip.driven?.header) glow.drawImage(trip.driven.canvas, 0, 0, 32, 16);
}, 200);

let last = performance.now();
function tick(now) {
  stats.shown(now);
  pad.poll();
  if (hands.advance(Math.min(0.1, Math.max(0, now - last) / 1000)) && trip.driven?.info) trip.driven.act(hands);
  last = now;
  showHands(hands);
  requestAnimationFrame(tick);
}
requestAnimationFrame(tick);

function onSetting(name) {
  look();
  if (name === "unlimited") trip.pace();
  if (name === "codec") for (const { session } of trip.panes) session.renew();
}

welcome({ start, drive, fresh, settled: (codecs) => bindSettings(codecs, pad, onSetting) });
