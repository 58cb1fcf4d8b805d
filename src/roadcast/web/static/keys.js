// The keyboard: arrows or WASD drive, letters command. Nothing of it reaches the car while a dialog or a field has the keyboard.

import { settings } from "./settings.js";

const DRIVING = {
  ArrowLeft: "left", KeyA: "left", ArrowRight: "right", KeyD: "right",
  ArrowUp: "throttle", KeyW: "throttle", ArrowDown: "brake", KeyS: "brake", Space: "brake",
};

function elsewhere({ target }) {
  return document.querySelector("dialog[open]") !== null || target.matches?.("input, select, textarea");
}

// commands: {name: function}; shortcuts: {code: name}.
export function listenToKeys(hands, commands, shortcuts) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || elsewhere(event)) return;
    const control = DRIVING[event.code];
    if (control && !(event.code === "Space" && event.target.matches?.("button"))) {
      event.preventDefault();
      hands.hold(event.code, control, event);
    } else if (!event.repeat && settings.letters && (shortcuts[event.code] ?? shortcuts[event.key])) {
      event.preventDefault();
      commands[shortcuts[event.code] ?? shortcuts[event.key]]();
    }
  });
  addEventListener("keyup", (event) => hands.letGo(event.code, event));
  addEventListener("blur", () => hands.release());
}
