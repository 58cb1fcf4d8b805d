// What the driver wants: keys, wheel, pedals and gamepad each ask for something, and steer (positive left), throttle and brake follow
// at the rate at which a hand or a foot would move them.

const STEER_OUT = 1.8, STEER_BACK = 4, STEER_HAND = 10, PEDAL_DOWN = 3, PEDAL_UP = 6; // full travel per second
const FIRST_S = 1 / 60; // an input moves something at once, not only at the next animation frame

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const approach = (value, target, most) => value + clamp(target - value, -most, most);

export class Hands {
  // onInput(time): the driver has done something new, at this time.
  constructor(onInput) {
    this.onInput = onInput;
    this.steer = this.throttle = this.brake = 0;
    this.held = new Map(); // what is held down -> "left" | "right" | "throttle" | "brake"
    this.hand = null; // the steering that a pointer asks for, or null when let go
    this.pad = { steer: 0, throttle: 0, brake: 0 };
  }

  hold(what, control, event) {
    if (this.held.get(what) === control) return;
    this.held.set(what, control);
    this.input(event);
  }

  letGo(what, event) {
    if (this.held.delete(what)) this.input(event);
  }

  turn(value, event) {
    this.hand = value;
    this.input(event);
  }

  input(event) {
    this.advance(FIRST_S);
    this.onInput(event.timeStamp);
  }

  release() {
    this.held.clear();
    this.hand = null;
  }

  // Everything in its resting place: another world begins.
  rest() {
    this.steer = this.throttle = this.brake = 0;
  }

  // Moves the values for `seconds` of time; says whether any changed.
  advance(seconds) {
    const { steer, throttle, brake } = this;
    const held = new Set(this.held.values());
    const keys = held.has("left") - held.has("right");
    const analog = this.hand ?? (this.pad.steer || null);
    const away = keys !== 0 && keys * steer >= 0;
    const rate = analog !== null ? STEER_HAND : away ? STEER_OUT : STEER_BACK;
    this.steer = approach(steer, analog ?? keys, rate * seconds);
    for (const name of ["throttle", "brake"]) {
      const target = held.has(name) ? 1 : this.pad[name];
      this[name] = approach(this[name], target, (target > this[name] ? PEDAL_DOWN : PEDAL_UP) * seconds);
    }
    return steer !== this.steer || throttle !== this.throttle || brake !== this.brake;
  }
}
