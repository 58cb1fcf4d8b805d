// One future on the screen: its session, what led to it, and the canvas that shows it.

import { Past } from "./past.js";
import { Picture } from "./picture.js";
import { Session } from "./session.js";

export class Pane {
  // on: {opened, received, drawn, queued, lost, ended, said}, each called with the pane first.
  constructor(canvas, on) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d", { alpha: false });
    this.on = on;
    this.header = null; // of the newest frame drawn
    this.info = null; // what the server said of the session
    this.command = [0, 0, 0]; // the last one sent
    this.session = new Session(
      {
        opened: (info) => this.opened(info),
        frame: (header, bytes) => this.receive(header, bytes),
        said: (message) => this.said(message),
        queued: (position) => on.queued(this, position),
        lost: (how) => on.lost(this, how),
        ended: (why) => on.ended(this, why),
      },
      () => this.past?.again(),
    );
  }

  // Open a world, as "create" does.
  begin({ model, scene, seed, clip = "", log = [], show = false }) {
    this.past = new Past({ model, scene, seed, clip }, log, show);
    this.session.create({ model, scene, seed, clip, log, show });
  }

  // Take up the session that was branched off another pane's at this step.
  take(id, other) {
    this.past = other.past.copy();
    this.session.resume(id);
  }

  opened(info) {
    this.info = info;
    this.header = null;
    this.past.start = { ...this.past.start, model: info.model, version: info.version };
    this.picture?.close();
    const lost = () => this.session.send({ type: "keyframe" });
    this.picture = new Picture((drawable, header) => this.draw(drawable, header), lost);
    this.on.opened(this);
  }

  receive(header, bytes) {
    this.on.received(this);
    if (!this.past.saw(header)) this.session.send({ type: "log" });
    header.receivedAt = performance.now();
    this.picture.push(bytes, header);
  }

  draw(drawable, header) {
    const { canvas, pen } = this;
    if (drawable && (this.header === null || header.id > this.header.id)) {
      if (canvas.width !== header.width || canvas.height !== header.height) [canvas.width, canvas.height] = [header.width, header.height];
      pen.drawImage(drawable, 0, 0, header.width, header.height);
      this.header = header;
      this.on.drawn(this, header, performance.now());
    }
    drawable?.close();
    this.session.drawn();
  }

  said(message) {
    if (message.type === "log") this.past.learn(message);
    this.on.said(this, message);
  }

  // Send a command, and return the id that its frames will carry.
  act(controls) {
    const [id, command] = this.session.act(controls);
    this.past?.send(id, (this.command = command));
    return id;
  }

  // Say the last command again, to a server that may not have heard it.
  repeat([steer, throttle, brake] = this.command) {
    this.act({ steer, throttle, brake });
  }

  // How many steps lie behind the frame that is seen.
  get step() {
    return this.header?.step ?? 0;
  }

  close() {
    this.session.close();
    this.picture?.close();
  }
}
