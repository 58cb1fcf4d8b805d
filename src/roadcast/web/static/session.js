// One world at the server, over one WebSocket at a time: a connection that is lost is made again, and the world goes on.

import { open } from "./api.js";
import { readFrame } from "./frames.js";
import { settings } from "./settings.js";

const CREDIT = 2;
const LOST_MS = [300, 1000, 2000, 4000, 8000];
const REFUSED = 1008, TOO_LARGE = 1009, BROKEN = 1011, LEAVING = 1012, FULL = 1013, EXPIRED = 4408;
const LAST_WORDS = new Set(["expired", "broken"]);
const RENEWED = 3000; // any code that does not end the session
const ENDS = new Set([REFUSED, TOO_LARGE, BROKEN, EXPIRED]);
const DIGITS = 1e4; // the server rounds commands so, and so are those that are remembered here

let actions = 0;

export class Session {
  // on: {opened(info), frame(header, bytes), said(message), queued(position), lost({full, retryMs}), ended({code, message})};
  // again(): the "create" that leads to the present, for when the server knows the session no more.
  constructor(on, again) {
    this.on = on;
    this.again = again;
    this.failures = 0;
    this.id = "";
  }

  create(ask) {
    this.connect({ type: "create", ...ask });
  }

  resume(id) {
    this.connect({ type: "resume", session: (this.id = id) });
  }

  connect(first) {
    clearTimeout(this.timer);
    this.first = first;
    this.error = null;
    const socket = (this.socket = open());
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.ask();
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      if (typeof data === "string") this.hear(JSON.parse(data));
      else this.see(data);
    };
    socket.onclose = ({ code, reason }) => socket === this.socket && this.closed(code, reason);
  }

  // The first message; of a codec is said only that it is another than the usual one.
  ask() {
    const { codec } = settings;
    this.send(codec === "jpeg" ? this.first : { ...this.first, codec });
  }

  // The same session over a new connection, which may be asked for another codec.
  renew() {
    this.socket?.close(RENEWED);
  }

  see(data) {
    try {
      const { header, bytes } = readFrame(data);
      this.on.frame(header, bytes);
    } catch (error) {
      this.end({ code: "broken", message: error.message });
    }
  }

  // One frame has been drawn: there may come another one.
  drawn() {
    this.send({ type: "credit", frames: 1 });
  }

  hear(message) {
    if (message.type === "session") {
      this.failures = 0;
      this.id = message.session;
      this.first = null;
      this.on.opened(message);
      this.send({ type: "credit", frames: CREDIT });
    } else if (message.type === "queued") {
      this.on.queued(message.position);
    } else if (message.type === "migrate") {
      const { type, version, ...log } = message;
      this.moved = { type: "create", ...log };
    } else if (message.type === "error") {
      this.error = message;
      if (message.code === "unknown" && this.first?.type === "resume" && this.again()) {
        this.first = { type: "create", ...this.again() };
        this.ask();
      } else if (LAST_WORDS.has(message.code)) {
        return; // the close that follows is what is told
      } else if (message.code !== "full" || !this.first) {
        this.on.said(message);
        if (this.first) this.end(message); // there is nothing that could be waited for
      }
    } else {
      this.on.said(message);
    }
  }

  closed(code, reason) {
    if (ENDS.has(code)) return this.end(this.error ?? { code: code === REFUSED ? "refused" : "broken", message: reason });
    const full = code === FULL;
    if (this.moved) [this.first, this.moved] = [this.moved, null];
    else if (this.first?.type !== "create" && this.id) this.first = { type: "resume", session: this.id };
    const wait = code === LEAVING ? 0 : LOST_MS[Math.min(this.failures++, LOST_MS.length - 1)];
    const retryMs = full ? 1000 * (this.error?.retry_after_s ?? 2) : wait;
    this.timer = setTimeout(() => this.connect(this.first), retryMs);
    this.on.lost({ full, retryMs });
  }

  retryNow() {
    if (this.socket?.readyState > WebSocket.OPEN) this.connect(this.first);
  }

  end(why) {
    this.close();
    this.on.ended(why);
  }

  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // Whether what is sent now reaches the world.
  get open() {
    return this.first === null && this.socket?.readyState === WebSocket.OPEN;
  }

  // Sends a command and returns [the id that the frames which have seen it will carry, the command as it was sent].
  act({ steer, throttle, brake }) {
    const [s, t, b] = [steer, throttle, brake].map((value) => Math.round(value * DIGITS) / DIGITS);
    this.send({ type: "action", id: ++actions, steer: s, throttle: t, brake: b, time: performance.now() });
    return [actions, [s, t, b]];
  }
}
