// What the driver has chosen for this browser.

const KEY = "roadcast.settings";
const DEFAULTS = { codec: "jpeg", crisp: false, letters: true, unlimited: false, pads: {} };

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

export const settings = { ...DEFAULTS, ...read() };

export function choose(name, value) {
  settings[name] = value;
  localStorage.setItem(KEY, JSON.stringify(settings));
}
