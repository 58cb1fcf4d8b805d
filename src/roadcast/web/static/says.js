// What the page says to the driver: one word of state, a notice that asks something, a banner that offers something, and passing words.

const $ = (id) => document.getElementById(id);
const TOLD_MS = 4000;
let timer;

export function state(name, text = name) {
  document.body.dataset.state = name;
  $("connection").dataset.state = name;
  $("connection").textContent = text;
}

// choices: up to two of [label, function]; no title: nothing to say.
export function notice(title = "", text = "", ...choices) {
  $("notice").hidden = !title;
  $("notice-title").textContent = title;
  $("notice-text").textContent = text;
  offer($("notice-button"), choices[0]);
  offer($("notice-other"), choices[1]);
}

export function banner(text = "", choice = null) {
  $("banner").hidden = !text;
  $("banner-text").textContent = text;
  offer($("banner-button"), choice);
}

export function tell(text) {
  clearTimeout(timer);
  $("toast").textContent = text;
  $("toast").classList.add("told");
  timer = setTimeout(() => $("toast").classList.remove("told"), TOLD_MS);
}

function offer(button, choice) {
  button.hidden = !choice;
  if (!choice) return;
  button.textContent = choice[0];
  button.onclick = () => {
    button.blur(); // the space bar is the brake
    choice[1]();
  };
}
