// The dialogs: the world waits while one is open.

import { decodesH264 } from "./picture.js";
import { choose, settings } from "./settings.js";
import { tell } from "./says.js";

const $ = (id) => document.getElementById(id);

export function show(id, trip) {
  const sheet = $(id);
  if (sheet.open) return;
  const running = trip.driven !== null && !trip.paused;
  if (running) trip.pause(true);
  sheet.showModal();
  sheet.addEventListener("close", () => running && !trip.replay?.done && trip.pause(false), { once: true });
}

// The settings' form shows and writes what is kept in settings.js; onChange(name) after each.
export function bindSettings(codecs, pad, onChange) {
  const form = $("settings-sheet").querySelector("form"), light = form.querySelector("[value=h264]");
  light.disabled = !(codecs.includes("h264") && decodesH264);
  if (light.disabled) settings.codec = "jpeg";
  if (light.disabled) $("light-why").textContent = codecs.includes("h264") ? "This browser cannot decode it" : "This server does not offer it";
  for (const name of ["codec", "crisp", "letters", "unlimited"]) {
    for (const input of form.querySelectorAll(`[name=${name}]`)) {
      if (input.type === "radio") input.checked = input.value === settings[name];
      else input.checked = settings[name];
      input.addEventListener("change", () => {
        choose(name, input.type === "radio" ? input.value : input.checked);
        onChange(name);
      });
    }
  }
  $("teach").addEventListener("click", () => pad.teach((text) => ($("taught").textContent = text)));
}

export function bindShare() {
  $("copy").addEventListener("click", async () => {
    $("link").select();
    try {
      await navigator.clipboard.writeText($("link").value);
    } catch {
      document.execCommand("copy"); // where the page does not come over https
    }
    $("share-sheet").close();
    tell("Link copied.");
  });
  $("send").hidden = !navigator.share;
  $("send").addEventListener("click", () => navigator.share({ title: document.title, url: $("link").value }).catch(() => {}));
}
