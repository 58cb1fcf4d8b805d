// Gamepads, and wheels with pedals. What turns which control is a binding {kind: "axes" | "buttons", index, from, to}: the value at
// rest and the value at full travel. Those of standard pads are known; a wheel's are guessed, or taught in the settings.

import { choose, settings } from "./settings.js";

const DEAD_ZONE = 0.08;
const axis = (index, from, to) => ({ kind: "axes", index, from, to });
const button = (index) => ({ kind: "buttons", index, from: 0, to: 1 });
const STANDARD = { left: axis(0, 0, -1), throttle: button(7), brake: button(6) };
const WHEEL = { left: axis(0, 0, -1), throttle: axis(2, 1, -1), brake: axis(5, 1, -1) };
const COMMANDS = { 9: "pause", 1: "rewind", 3: "branch" }; // start, B, Y

const read = (pad, { kind, index }) => (kind === "axes" ? pad.axes[index] : pad.buttons[index]?.value) ?? 0;

export class Pad {
  constructor(hands, commands) {
    this.hands = hands;
    this.commands = commands;
    this.pressed = new Set();
    this.moved = new Map(); // an axis says 0 until it has first been moved, whatever its rest is
  }

  get pad() {
    return navigator.getGamepads?.().find((one) => one?.connected);
  }

  // Read once an animation frame.
  poll() {
    const pad = this.pad, { hands } = this;
    if (!pad) {
      hands.pad = { steer: 0, throttle: 0, brake: 0 };
      return;
    }
    const bound = settings.pads[pad.id] ?? (pad.mapping === "standard" ? STANDARD : WHEEL);
    const steer = this.value(pad, bound.left);
    hands.pad = {
      steer: Math.abs(steer) > DEAD_ZONE ? (Math.sign(steer) * (Math.abs(steer) - DEAD_ZONE)) / (1 - DEAD_ZONE) : 0,
      throttle: Math.max(0, this.value(pad, bound.throttle)),
      brake: Math.max(0, this.value(pad, bound.brake)),
    };
    for (const [index, name] of Object.entries(COMMANDS)) {
      const down = pad.buttons[index]?.pressed ?? false;
      if (down && !this.pressed.has(index) && pad.mapping === "standard") this.commands[name]();
      if (down) this.pressed.add(index);
      else this.pressed.delete(index);
    }
  }

  value(pad, binding) {
    const value = read(pad, binding), key = `${pad.id} ${binding.kind} ${binding.index}`;
    if (value !== 0) this.moved.set(key, true);
    if (!this.moved.has(key)) return 0;
    return Math.min(1, Math.max(-1, (value - binding.from) / (binding.to - binding.from)));
  }

  // Learns which axis or button is which: the one that travels farthest after each word. tell(text) says what to do.
  async teach(tell) {
    const pad = this.pad, learnt = {};
    if (!pad) return tell("No wheel or gamepad answers. Press one of its buttons, and try again.");
    for (const [name, text] of [["left", "Turn fully left, and hold."], ["throttle", "Press the throttle down."], ["brake", "Press the brake down."]]) {
      tell(`${text} Let everything else rest.`);
      learnt[name] = await this.travelled(Object.values(learnt));
      if (!learnt[name]) return tell("Nothing moved far enough. Nothing has been changed.");
    }
    choose("pads", { ...settings.pads, [pad.id]: learnt });
    tell("Done. Drive!");
  }

  async travelled(taken) {
    const known = (one) => taken.some(({ kind, index }) => kind === one.kind && index === one.index);
    const all = (pad) => [...pad.axes.map((_, i) => axis(i, 0, 0)), ...pad.buttons.map((_, i) => button(i))].filter((one) => !known(one));
    const rest = all(this.pad).map((one) => read(this.pad, one));
    for (let tries = 0; tries < 80; tries++) {
      await new Promise((done) => setTimeout(done, 100));
      if (!this.pad) return null;
      const found = all(this.pad).map((one, i) => ({ ...one, from: rest[i], to: read(this.pad, one) }));
      const most = found.reduce((best, one) => (Math.abs(one.to - one.from) > Math.abs(best.to - best.from) ? one : best));
      if (Math.abs(most.to - most.from) > 0.8) {
        await new Promise((done) => setTimeout(done, 600)); // all the way
        const { kind, index, from } = most;
        return { kind, index, from, to: Math.abs(read(this.pad, most)) > 0.3 ? read(this.pad, most) : most.to };
      }
    }
    return null;
  }
}
