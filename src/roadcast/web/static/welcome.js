// What an address leads to: the choice of a drive, a drive at once, or one that somebody has shared.

import { info } from "./api.js";
import { duration } from "./names.js";
import { notice, tell } from "./says.js";
import { atOnce, fromLink } from "./share.js";

// start: the choice; drive(ask), fresh(): begin, or let it be chosen; settled(codecs): the server's settings are known.
export async function welcome(page) {
  const { start, drive, fresh, settled } = page;
  notice();
  try {
    const { codecs } = await info();
    if (!(await start.load())) return;
    settled(codecs);
  } catch {
    notice("The server does not answer", "It may be starting, or you may be offline.", ["Try again", () => welcome(page)]);
    return;
  }
  const { hash } = location, now = atOnce(hash), shared = await fromLink(hash);
  if (now) drive({ ...now, model: start.model(now.model).name });
  else if (shared) offer(shared, page);
  else {
    if (hash.includes("replay=")) tell("This link is damaged: no drive could be read from it.");
    fresh();
  }
}

function offer(ask, { start, drive, fresh }) {
  const { version, fps } = start.model(ask.model), steps = ask.log.reduce((sum, [times]) => sum + times, 0);
  if (version !== ask.version) tell("The model has changed since: the drive may look different now.");
  const what = `${start.label(ask.model, ask.scene)}, seed ${ask.seed}, ${duration(steps / fps)}.`;
  const text = `${what} Watch it, and take the wheel whenever you like.`;
  notice("A drive for you", text, ["Watch", () => drive({ ...ask, show: true })], ["My own drive", fresh]);
}
