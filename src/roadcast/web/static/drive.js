// The driver's page: joins the controls, the link to the server and what is shown.

import { Controls } from "./controls.js";
import { Link } from "./link.js";
import { Stats } from "./stats.js";

const $ = (id) => document.getElementById(id);
const view = $("view"), pen = view.getContext("2d"), glow = $("ambient").getContext("2d");
const FIRST_TICK_S = 1 / 60;
const SPARK = 30;

const stats = new Stats();
Object.defineProperty(window, "roadcast", { get: () => stats.report() });
let frame = null; // the newest frame drawn
let connected = false, paused = false, unlimited = false;

const link = new Link({ onOpen, onFrame, onError, onClosed });
const controls = new Controls({ wheel: $("wheel"), slider: $("slider"), throttle: $("throttle"), brake: $("brake") }, onInput);

// ---- the world's side

function onOpen(info) {
  connected = true;
  $("name").textContent = info.name;
  $("facts").textContent = `${info.width} x ${info.height} at ${+info.fps.toFixed(1)} frames/s`;
  document.title = `${info.name} - roadcast drive`;
  document.body.style.setProperty("--aspect", info.width / info.height);
  const scene = $("scene"), chosen = Math.max(0, scene.selectedIndex);
  scene.replaceChildren(...info.scenes.map((name, index) => new Option(name, index)));
  scene.selectedIndex = Math.min(chosen, info.scenes.length - 1);
  forget();
  if (scene.selectedIndex > 0) reset();
  link.send({ type: "pause", paused: paused || document.hidden });
  link.send({ type: "pace", unlimited });
  pill("connecting");
}

async function onFrame(next) {
  const receivedAt = performance.now();
  stats.received++;
  const bitmap = await createImageBitmap(next.jpeg);
  if (frame === null || next.id > frame.id) {
    if (view.width !== next.width || view.height !== next.height) [view.width, view.height] = [next.width, next.height];
    pen.drawImage(bitmap, 0, 0);
    glow.drawImage(bitmap, 0, 0, 16, 8);
    stats.draw(next, receivedAt, performance.now());
    const begun = frame === null;
    frame = next;
    if (begun) showState();
  }
  bitmap.close();
}

function onError(text) {
  notice("The server did not take that", text, "Go on", () => notice(null));
}

function onClosed({ busy, reason, retryMs }) {
  connected = false;
  forget();
  const again = `Trying again in ${retryMs / 1000} s.`;
  if (busy) notice("Someone else is driving", `This server has one seat. ${again}`, "Try now", () => link.connect());
  else notice("Connection lost", `${reason || "The server does not answer."} ${again}`, "Try now", () => link.connect());
  pill(busy ? "busy" : "lost");
}

function forget() {
  frame = null;
  stats.forget();
}

// ---- the driver's side

function onInput(time) {
  document.body.classList.add("driven");
  controls.advance(FIRST_TICK_S);
  const id = link.sendAction(controls);
  if (connected && !paused) stats.pressed(id, time);
}

function reset() {
  stats.forget();
  link.send({ type: "reset", scene: $("scene").selectedIndex, seed: 0 });
}

function togglePause() {
  paused = !paused;
  stats.forget();
  link.send({ type: "pause", paused });
  showState();
}

function toggleUnlimited() {
  unlimited = !unlimited;
  stats.latencies.length = 0;
  $("unlimited").setAttribute("aria-pressed", unlimited);
  link.send({ type: "pace", unlimited });
}

function setCrisp(crisp) {
  localStorage.setItem("roadcast.crisp", crisp ? "1" : "");
  $("crisp").setAttribute("aria-pressed", crisp);
  view.classList.toggle("crisp", crisp);
}

function toggleFull() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.();
}

const commands = {
  reset, full: toggleFull, pause: togglePause, unlimited: toggleUnlimited,
  crisp: () => setCrisp(!view.classList.contains("crisp")),
};
const shortcuts = { KeyR: "reset", KeyP: "pause", KeyC: "crisp", KeyU: "unlimited", KeyF: "full" };

for (const [id, command] of Object.entries(commands)) {
  $(id).addEventListener("click", (event) => {
    command();
    if (event.detail > 0) $(id).blur(); // clicked, not tabbed to: the space bar stays the brake
  });
}
addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLSelectElement) return;
  if (shortcuts[event.code]) commands[shortcuts[event.code]]();
});
$("scene").addEventListener("change", () => {
  reset();
  $("scene").blur();
});
document.addEventListener("visibilitychange", () => {
  controls.release();
  stats.forget();
  link.send({ type: "pause", paused: paused || document.hidden });
});

// ---- what is shown

function notice(title, text = "", button = "", onClick = null) {
  $("notice").hidden = title === null;
  $("notice-title").textContent = title ?? "";
  $("notice-text").textContent = text;
  $("notice-button").textContent = button;
  $("notice-button").onclick = onClick;
}

function pill(state) {
  $("connection").dataset.state = $("connection").textContent = state;
}

function showState() {
  $("pause").setAttribute("aria-pressed", paused);
  pill(paused ? "paused" : "driving");
  if (paused) notice("Paused", "The world waits for you.", "Go on", togglePause);
  else notice(null);
}

function showNumbers() {
  const now = performance.now();
  $("fps").textContent = stats.rate(now).toFixed(1);
  $("p50").textContent = stats.latencies.length ? stats.latency(0.5).toFixed(0) : "\u2013";
  $("p99").textContent = stats.latencies.length ? stats.latency(0.99).toFixed(0) : "\u2013";
  $("step").textContent = frame ? frame.stepMs.toFixed(1) : "\u2013";
  $("frame").textContent = frame ? frame.id : "\u2013";
  const recent = stats.latencies.slice(-SPARK), most = Math.max(50, ...recent);
  $("spark").firstElementChild.setAttribute("d", recent.map((ms, i) => `M${2 * i + 1} 20V${20 - 18 * ms / most}`).join(""));
}

function showControls() {
  const { steer } = controls;
  const angle = steer * 120;
  $("rim").style.transform = `rotate(${-angle}deg)`;
  const at = (degrees, r) => `${(r * Math.cos(degrees * Math.PI / 180)).toFixed(2)} ${(-r * Math.sin(degrees * Math.PI / 180)).toFixed(2)}`;
  $("arc").setAttribute("d", Math.abs(steer) < 0.005 ? "" : `M${at(90, 55)}A55 55 0 0 ${steer > 0 ? 0 : 1} ${at(90 + angle, 55)}`);
  $("steer").textContent = (steer < 0 ? "\u2212" : "+").slice(steer === 0) + Math.abs(steer).toFixed(2);
  $("side").textContent = Math.abs(steer) < 0.005 ? "straight" : steer > 0 ? "left" : "right";
  if (controls.hand === null) $("slider").value = -steer;
  $("slider").setAttribute("aria-valuetext", `${Math.round(Math.abs(steer) * 100)} percent ${$("side").textContent}`);
  for (const name of ["throttle", "brake"]) {
    $(name).style.setProperty("--pressed", controls[name].toFixed(3));
    $(name).lastElementChild.textContent = Math.round(controls[name] * 100);
  }
}

let last = performance.now();
function tick(now) {
  stats.shown(now);
  if (controls.advance(Math.min(0.1, Math.max(0, now - last) / 1000))) link.sendAction(controls);
  last = now;
  showControls();
  requestAnimationFrame(tick);
}

setCrisp(localStorage.getItem("roadcast.crisp") === "1");
setInterval(showNumbers, 200);
requestAnimationFrame(tick);
link.connect();
