// The way back in time: a slider over the last minute; what is let go of there is where the drive goes on.

import { duration } from "./names.js";
import { Strip } from "./strip.js";

const WINDOW_S = 60; // the server keeps the moments of a minute
const STRIDE_S = 0.25;
const SHOWN_MS = 200;

export class Timeline {
  constructor({ slider, ago, clock }, trip) {
    Object.assign(this, { slider, ago, clock, trip, strip: new Strip(), fps: 20, shownAt: 0 });
    slider.addEventListener("input", () => this.look());
    slider.addEventListener("change", () => this.go());
    slider.addEventListener("pointerup", () => setTimeout(() => slider.blur())); // the arrows are the driver's again
  }

  // The driven world stands at this step.
  see(pane, header) {
    if (pane !== this.of) this.strip.clear();
    this.of = pane;
    this.fps = pane.info.fps;
    this.strip.see(pane.canvas, header, this.fps);
    const now = performance.now();
    if (this.trip.scrubbing || (!header.first && now < this.shownAt + SHOWN_MS)) return;
    this.shownAt = now;
    const stride = Math.max(1, Math.round(STRIDE_S * this.fps)), { step } = header;
    const back = Math.floor(Math.min(step, WINDOW_S * this.fps) / stride) * stride;
    Object.assign(this.slider, { min: step - back, max: step, step: stride, value: step, disabled: back === 0 });
    this.say(step);
    this.clock.textContent = duration(step / this.fps);
  }

  // Before anything is decided, a picture of what was there.
  look() {
    this.trip.scrub(true);
    this.strip.show(this.trip.driven.canvas, this.slider.valueAsNumber);
    this.say(this.slider.valueAsNumber);
  }

  go() {
    const { max, valueAsNumber } = this.slider;
    if (this.trip.scrubbing && valueAsNumber <= Number(max)) this.trip.rewind(valueAsNumber);
    this.trip.scrub(false);
  }

  // So many seconds back.
  back(seconds) {
    this.trip.rewind(Math.max(Number(this.slider.min), this.trip.driven.step - seconds * this.fps));
  }

  say(step) {
    const { slider } = this, seconds = (Number(slider.max) - step) / this.fps;
    const text = seconds === 0 ? "now" : `${duration(seconds)} ago`;
    if (this.ago.textContent !== text) {
      this.ago.textContent = text;
      slider.setAttribute("aria-valuetext", text);
    }
    const done = slider.max === slider.min ? 0 : (100 * (step - slider.min)) / (slider.max - slider.min);
    slider.style.setProperty("--done", `${done}%`);
  }
}
