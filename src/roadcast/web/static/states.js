// What the driver is told in each state of the trip, and what there is to choose.

import { duration } from "./names.js";
import { banner, notice, state } from "./says.js";

const LABELS = { lost: "lost", busy: "busy", replayed: "replay" };

// do: {resume, takeWheel, watch, retry, goOn, fresh}, functions.
export function showState(name, detail, { fps, does }) {
  const busy = name === "lost" && detail.full, shown = busy ? "busy" : name;
  state(shown === "replayed" ? "replay" : shown, LABELS[shown] ?? shown);
  banner();
  const again = `Trying again in ${Math.ceil((detail?.retryMs ?? 0) / 1000)} s.`;
  switch (shown) {
    case "queued":
      return notice(`You are number ${detail} in line`, "Every seat is taken. The drive begins by itself as soon as it is your turn.", ["Choose again", does.fresh]);
    case "paused":
      return notice("Paused", "The world waits for you.", ["Go on", does.resume]);
    case "replay":
      notice();
      return banner(`Replay, ${duration(detail.steps / fps)}`, ["Take the wheel", does.takeWheel]);
    case "replayed":
      return notice("That was the drive", "The wheel is yours from here.", ["Take the wheel", does.takeWheel], ["Watch again", does.watch]);
    case "busy":
      return notice("Every seat is taken", `Someone else is driving. ${again}`, ["Try now", does.retry]);
    case "lost":
      return notice("Connection lost", `Your drive is kept. ${again}`, ["Try now", does.retry]);
    case "ended":
      return ended(detail, does);
    default:
      return notice();
  }
}

function ended({ code, message }, does) {
  const fresh = ["New drive", does.fresh], goOn = ["Go on from here", does.goOn];
  if (code === "expired") return notice("The drive has been put away", `${sentence(message)} Nothing is lost.`, goOn, fresh);
  if (code === "refused") return notice("The server said no", sentence(message), fresh);
  if (code === "unknown") return notice("That is not here", sentence(message), fresh);
  return notice("This world has come to an end", sentence(message || "The server did not say why"), goOn, fresh);
}

function sentence(text) {
  const trimmed = text.trim();
  return trimmed ? trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".") : "";
}
