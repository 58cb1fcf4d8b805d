// The drive that is going on: one future or two, which of them is driven, whether time runs, and whether a log drives it.

import { figureOf } from "./figures.js";
import { Pane } from "./pane.js";
import { settings } from "./settings.js";

const mirrored = ([steer, throttle, brake]) => [-steer, throttle, brake];

export class Trip {
  // on: {state(name, detail), received(), drawn(pane, header, now), panes(), taken(), told(text)}; states: connecting, queued, driving, paused, replay,
  // replayed, lost, ended.
  constructor(root, template, on) {
    this.root = root;
    this.template = template;
    this.on = on;
    this.panes = [];
    this.driven = this.replay = null;
    this.paused = this.scrubbing = this.joining = false;
  }

  get other() {
    return this.panes.find((pane) => pane !== this.driven);
  }

  get waiting() {
    return this.paused || this.scrubbing || this.joining || document.hidden;
  }

  // ---- begin and end

  // ask as in "create"; with `show` its log is watched.
  begin(ask) {
    this.end();
    this.replay = ask.show ? { ask, steps: ask.log.reduce((sum, [times]) => sum + times, 0), done: false } : null;
    this.driven = this.add();
    this.on.state("connecting");
    this.driven.begin(ask);
  }

  end() {
    this.panes.forEach((pane) => this.remove(pane));
    this.driven = null;
    this.paused = this.scrubbing = this.joining = false;
  }

  // The same world, or another scene of it, from its beginning; its seat is kept.
  reset(scene, seed) {
    this.replay = null;
    this.keep(this.driven);
    this.driven.session.send({ type: "reset", scene, seed });
    this.pause(false);
  }

  add() {
    const { figure, canvas } = figureOf(this.template, this);
    const pane = new Pane(canvas, {
      opened: (one) => this.opened(one),
      received: (one) => one === this.driven && this.on.received(),
      drawn: (one, header, now) => this.drawn(one, header, now),
      queued: (_, position) => this.on.state("queued", position),
      lost: (one, how) => (one === this.driven ? this.on.state("lost", how) : this.on.told("The other future is lost for the moment.")),
      ended: (one, why) => this.ended(one, why),
      said: (one, message) => this.said(one, message),
    });
    pane.figure = figure;
    this.root.append(figure);
    this.panes.push(pane);
    return pane;
  }

  remove(pane) {
    pane.close();
    pane.figure.remove();
    this.panes = this.panes.filter((one) => one !== pane);
  }

  // ---- what the server says

  opened(pane) {
    pane.session.send({ type: "pause", paused: this.waiting });
    if (settings.unlimited) pane.session.send({ type: "pace", unlimited: true });
    if (pane.command.some((value) => value !== 0)) pane.repeat();
    this.on.panes();
  }

  drawn(pane, header, now) {
    this.on.drawn(pane, header, now);
    if (this.joining && pane !== this.driven) {
      this.joining = false;
      this.mirror(pane, false);
      this.hold();
    }
    if (pane !== this.driven) return;
    if (this.replay) this.watch(header);
    else if (header.first) this.tell();
  }

  watch({ step, first }) {
    const { replay } = this;
    if (step > replay.steps) this.driven.session.send({ type: "rewind", step: replay.steps }); // it had rolled on
    if (step >= replay.steps && !replay.done) {
      replay.done = true;
      this.pause(true);
    } else if (first) {
      this.tell();
    }
  }

  ended(pane, why) {
    if (pane !== this.driven) {
      this.on.told("The other future has ended.");
      this.keep(this.driven);
    } else {
      if (this.other) this.remove(this.other);
      this.on.panes();
      this.on.state("ended", why);
    }
  }

  said(pane, message) {
    if (message.type === "branched") {
      const other = this.add();
      other.command = pane.command;
      other.take(message.session, pane);
      this.on.panes();
    } else if (message.type === "log" && this.asked) {
      this.asked(message);
      this.asked = null;
    } else if (message.type === "error") {
      if (this.joining) {
        this.joining = false;
        this.hold();
      }
      this.on.told(message.code === "full" ? "No seat is free for a second future. Try again in a while." : message.message);
    }
  }

  // ---- time

  // Everybody learns whether time runs, and the driver what state it is in.
  hold() {
    for (const { session } of this.panes) session.send({ type: "pause", paused: this.waiting });
    if (this.driven?.header && this.driven.session.open) this.tell();
  }

  tell() {
    this.on.state(this.replay?.done ? "replayed" : this.paused ? "paused" : this.replay ? "replay" : "driving", this.replay);
  }

  pause(paused) {
    this.paused = paused;
    this.hold();
  }

  // As fast as it can, or in real time.
  pace() {
    for (const { session } of this.panes) session.send({ type: "pace", unlimited: settings.unlimited });
  }

  scrub(scrubbing) {
    if (this.scrubbing === scrubbing) return;
    this.scrubbing = scrubbing;
    this.hold();
  }

  rewind(step) {
    if (this.replay) this.paused = false;
    this.replay = null;
    this.driven.session.send({ type: "rewind", step: Math.max(0, Math.round(step)) });
    this.hold();
  }

  // Out of a replay, at the moment that is seen.
  takeWheel() {
    if (this.replay) this.rewind(this.driven.step);
  }

  // All that led to this moment, as in "log".
  log() {
    return new Promise((done) => {
      this.asked = done;
      this.driven.session.send({ type: "log" });
    });
  }

  // ---- two futures

  branch() {
    if (this.other) return this.keep(this.driven);
    if (this.replay) this.takeWheel();
    this.joining = true;
    this.hold();
    this.driven.session.send({ type: "branch" });
  }

  // The driver goes over to the other one; the one left goes on by its last command.
  swap() {
    const left = this.driven, taken = this.other;
    if (!taken) return;
    this.driven = taken;
    taken.mirrored = false;
    this.mirror(left, false);
    this.on.taken();
  }

  // How the future that is not driven goes on: as it was left, or steering the other way.
  mirror(pane, on) {
    if (Boolean(pane.mirrored) !== on) pane.command = mirrored(pane.command);
    pane.mirrored = on;
    pane.repeat();
    this.on.panes();
  }

  // One future only.
  keep(pane) {
    this.panes.filter((one) => one !== pane).forEach((one) => this.remove(one));
    this.driven = pane;
    pane.mirrored = false;
    this.joining = false;
    this.on.panes();
    this.hold();
  }
}
