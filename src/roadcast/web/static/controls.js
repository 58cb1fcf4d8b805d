// Hands and feet: keys, gamepad, slider, wheel and pedals become steer (positive left), throttle and brake.
// Every input only sets a target; the values follow at a limited rate, and spring back when let go.

const KEYS = {
  ArrowLeft: "left", KeyA: "left", ArrowRight: "right", KeyD: "right",
  ArrowUp: "throttle", KeyW: "throttle", ArrowDown: "brake", KeyS: "brake", Space: "brake",
};
const STEER_OUT = 1.8, STEER_BACK = 4, STEER_HAND = 10, PEDAL_DOWN = 3, PEDAL_UP = 6; // full travel per second
const DEAD_ZONE = 0.08;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const approach = (value, target, most) => value + clamp(target - value, -most, most);

export class Controls {
  // onInput(time) is called with the event's time whenever the driver does something new.
  constructor({ wheel, slider, throttle, brake }, onInput) {
    this.steer = this.throttle = this.brake = 0;
    this.pressed = new Map(); // what is held down -> "left" | "right" | "throttle" | "brake"
    this.hand = null; // the steering a pointer asks for, or null when let go
    this.pad = { steer: 0, throttle: 0, brake: 0 };
    this.onInput = onInput;
    addEventListener("keydown", (event) => this.key(event, true));
    addEventListener("keyup", (event) => this.key(event, false));
    addEventListener("blur", () => this.release());
    this.pedal(throttle, "throttle");
    this.pedal(brake, "brake");
    this.drag(wheel);
    slider.addEventListener("input", (event) => this.setHand(-slider.valueAsNumber, event));
    for (const end of ["change", "pointerup", "pointercancel"]) slider.addEventListener(end, (event) => this.setHand(null, event));
  }

  key(event, down) {
    const control = KEYS[event.code];
    const element = event.target;
    if (!control || event.ctrlKey || event.metaKey || event.altKey) return;
    if (element instanceof HTMLSelectElement || (event.code === "Space" && element instanceof HTMLButtonElement)) {
      if (down) return;
    } else {
      event.preventDefault();
    }
    if (down === this.pressed.has(event.code)) return;
    if (down) this.pressed.set(event.code, control);
    else this.pressed.delete(event.code);
    this.onInput(event.timeStamp);
  }

  pedal(button, control) {
    const press = (name, down) => (event) => {
      if (down) this.pressed.set(name, control);
      else if (!this.pressed.delete(name)) return;
      this.onInput(event.timeStamp);
    };
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      press(button, true)(event);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(end, press(button, false));
    button.addEventListener("keydown", (event) => {
      if (["Space", "Enter"].includes(event.code) && !event.repeat) press(button, true)(event);
    });
    button.addEventListener("keyup", press(button, false));
    button.addEventListener("blur", press(button, false));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  drag(wheel) {
    let from = null;
    wheel.addEventListener("pointerdown", (event) => {
      wheel.setPointerCapture(event.pointerId);
      from = event.clientX + this.steer * wheel.clientWidth * 0.6;
    });
    wheel.addEventListener("pointermove", (event) => {
      if (from !== null) this.setHand(clamp((from - event.clientX) / (wheel.clientWidth * 0.6), -1, 1), event);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      wheel.addEventListener(end, (event) => {
        from = null;
        this.setHand(null, event);
      });
    }
  }

  setHand(value, event) {
    this.hand = value;
    this.onInput(event.timeStamp);
  }

  release() {
    this.pressed.clear();
    this.hand = null;
  }

  readPad() {
    const pad = navigator.getGamepads?.().find((one) => one?.connected);
    const axis = pad?.axes[0] ?? 0;
    this.pad.steer = Math.abs(axis) > DEAD_ZONE ? -Math.sign(axis) * (Math.abs(axis) - DEAD_ZONE) / (1 - DEAD_ZONE) : 0;
    this.pad.throttle = pad?.buttons[7]?.value ?? 0;
    this.pad.brake = pad?.buttons[6]?.value ?? 0;
  }

  // Moves the values for `seconds` of time; says whether any changed.
  advance(seconds) {
    this.readPad();
    const { steer, throttle, brake } = this;
    const held = new Set(this.pressed.values());
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
