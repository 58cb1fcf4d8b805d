// The button that films: begins, counts the seconds, and saves what was filmed.

import { Recorder, save } from "./record.js";
import { tell } from "./says.js";

export class Film {
  constructor(button, pill) {
    Object.assign(this, { button, pill, recorder: null });
    setInterval(() => this.count(), 500);
  }

  get on() {
    return this.recorder !== null;
  }

  begin(panes, name) {
    if (!Recorder.kind) return tell("This browser cannot record films.");
    this.name = name;
    this.recorder = new Recorder(panes);
    this.show();
    tell("Recording. Press again to save the film.");
  }

  draw(panes) {
    this.recorder?.draw(panes);
  }

  async end() {
    const { recorder, name } = this;
    this.recorder = null;
    this.show();
    if (!recorder) return;
    const { blob, ending } = await recorder.stop();
    save(blob, `${name}.${ending}`);
    tell(`Saved ${name}.${ending}`);
  }

  show() {
    this.button.setAttribute("aria-pressed", this.on);
    this.pill.hidden = !this.on;
    this.count();
  }

  count() {
    if (!this.on) return;
    const seconds = Math.floor(this.recorder.seconds);
    this.pill.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}
