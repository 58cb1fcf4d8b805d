// What is measured, and where hands and feet are.

import { side } from "./names.js";

const $ = (id) => document.getElementById(id);
const none = "\u2013";
const number = (value, digits = 0) => (Number.isFinite(value) ? value.toFixed(digits) : none);

export function showNumbers(stats, header) {
  $("fps").textContent = number(stats.rate(performance.now()));
  $("p50").textContent = number(stats.latency(0.5));
  $("p99").textContent = number(stats.latency(0.99));
  $("step").textContent = number(header?.stepMs, 1);
  const known = Number.isFinite(header?.uncertainty);
  $("doubt").hidden = !known;
  if (known) {
    $("uncertainty").textContent = header.uncertainty.toFixed(2);
    $("doubt-meter").value = header.uncertainty;
  }
}

// steer as the number that is seen, with a true minus.
const signed = (steer) => (steer < 0 ? "\u2212" : "") + Math.abs(steer).toFixed(2);

let shown = "";

export function showHands(hands) {
  const { steer } = hands, now = [steer, hands.throttle, hands.brake].join();
  if (now === shown) return;
  shown = now;
  const angle = 120 * steer, at = (degrees) => `${(55 * Math.cos(degrees)).toFixed(2)} ${(-55 * Math.sin(degrees)).toFixed(2)}`;
  $("rim").style.transform = `rotate(${-angle}deg)`;
  $("arc").setAttribute("d", Math.abs(steer) < 0.005 ? "" : `M0 -55A55 55 0 0 ${steer > 0 ? 0 : 1} ${at(((90 + angle) * Math.PI) / 180)}`);
  $("steer").textContent = signed(steer);
  $("side").textContent = Math.abs(steer) < 0.005 ? "straight" : steer > 0 ? "left" : "right";
  $("wheel").setAttribute("aria-valuenow", Math.round(-100 * steer));
  $("wheel").setAttribute("aria-valuetext", side(steer));
  for (const name of ["throttle", "brake"]) {
    $(name).style.setProperty("--pressed", hands[name].toFixed(3));
    $(name).lastElementChild.textContent = Math.round(100 * hands[name]);
  }
}
