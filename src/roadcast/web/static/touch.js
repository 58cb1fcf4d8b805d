// Thumbs and mouse: the wheel's side of the dashboard steers by how far it is dragged from where it was taken, the pedals are pressed.

import { clamp } from "./hands.js";

const FULL = 0.4; // of the zone's width, but not more than
const FULL_PX = 120;

export function steerBy(zone, hands) {
  let from = null, reach = 1;
  zone.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    zone.setPointerCapture(event.pointerId);
    reach = Math.min(FULL_PX, FULL * zone.clientWidth);
    from = event.clientX + hands.steer * reach;
  });
  zone.addEventListener("pointermove", (event) => {
    if (from !== null) hands.turn(clamp((from - event.clientX) / reach, -1, 1), event);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    zone.addEventListener(end, (event) => {
      if (from === null) return;
      from = null;
      hands.turn(null, event);
    });
  }
}

export function pedal(button, control, hands) {
  const down = (event) => hands.hold(button, control, event);
  const up = (event) => hands.letGo(button, event);
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    down(event);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture", "keyup", "blur"]) button.addEventListener(end, up);
  button.addEventListener("keydown", (event) => ["Space", "Enter"].includes(event.code) && !event.repeat && down(event));
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}
