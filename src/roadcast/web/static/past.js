// The commands that led to the present, one a step: enough to make the same world again, here or elsewhere.

const still = [0, 0, 0];

export class Past {
  // start: {model, version, scene, seed, clip}; rows as in a "log" message: they have been driven, or will be while they are `shown`.
  constructor(start, rows = [], shown = false) {
    this.start = start;
    this.script = unrolled(rows);
    this.commands = shown ? [] : [...this.script]; // [steer, throttle, brake] of each step
    this.sent = new Map(); // action id -> its command
  }

  // The same past, for a second future to go on from.
  copy() {
    const other = new Past(this.start);
    other.commands = [...this.commands];
    return other;
  }

  send(id, command) {
    this.sent.set(id, command);
  }

  // A frame tells which actions its steps had seen. False: it has a past that is not known here; ask for the log.
  saw({ step, first, replayed, scene, seed, actionIds }) {
    if (scene !== this.start.scene || seed !== this.start.seed) this.start = { ...this.start, scene, seed, clip: "" };
    if (first) this.commands.length = Math.min(this.commands.length, step);
    if (replayed) this.commands.push(...this.script.slice(this.commands.length, step));
    actionIds.forEach((id, i) => {
      this.commands[step - actionIds.length + i] = this.sent.get(id) ?? still;
    });
    const newest = actionIds.at(-1) ?? 0;
    for (const id of this.sent.keys()) if (id < newest) this.sent.delete(id);
    return this.commands.length >= step;
  }

  // The server's own account fills what is missing.
  learn({ type, log, ...start }) {
    this.start = { ...this.start, ...start };
    Object.assign(this.commands, unrolled(log));
  }

  // {model, scene, seed, clip, log}: what "create" makes this moment of.
  again() {
    const { model, scene, seed, clip } = this.start;
    const hole = this.commands.findIndex((command) => command === undefined);
    return { model, scene, seed, clip: clip ?? "", log: rows(hole < 0 ? this.commands : this.commands.slice(0, hole)) };
  }
}

// Rows [times, steer, throttle, brake] of commands, one a step, and back.
export function rows(commands) {
  const log = [];
  for (const command of commands) {
    const last = log.at(-1);
    if (last && command.every((value, i) => value === last[i + 1])) last[0]++;
    else log.push([1, ...command]);
  }
  return log;
}

export function unrolled(log) {
  return log.flatMap(([times, ...command]) => Array(times).fill(command));
}
