// What the page measures: for its readings, and for benchmarks as window.roadcast. All times are performance.now(), ms.
// An address that ends in #drive drives at once, without asking for a scene.

const KEPT = 4096;
const RECENT_MS = 2000;

export class Stats {
  constructor() {
    this.ring = new Array(KEPT);
    this.drawn = 0;
    this.received = 0;
    this.awaited = []; // {id, time}: inputs that no frame has answered yet
    this.latencies = []; // the last ones, oldest first
  }

  // An input event of this time has become the action of this id.
  pressed(id, time) {
    this.awaited.push({ id, time });
  }

  // A frame is on the canvas: the first one whose step had seen an input tells how long that took.
  draw(header, receivedAt, drawnAt) {
    let keyToCanvasMs = null;
    while (this.awaited.length && header.actionId >= this.awaited[0].id) {
      keyToCanvasMs = drawnAt - this.awaited.shift().time;
      this.latencies.push(keyToCanvasMs);
    }
    if (this.latencies.length > 300) this.latencies.splice(0, this.latencies.length - 300);
    this.last = { frameId: header.id, actionId: header.actionId, receivedAt, drawnAt, shownAt: null, keyToCanvasMs };
    this.ring[this.drawn++ % KEPT] = this.last;
  }

  // An animation frame begins at this time: what was drawn before it is shown by it.
  shown(time) {
    if (this.last && this.last.shownAt === null) this.last.shownAt = time;
  }

  // Nothing that was pressed before now will be answered.
  forget() {
    this.awaited.length = 0;
  }

  // Frames drawn a second, of late.
  rate(now) {
    let n = 0, first = now;
    const newest = this.last?.drawnAt;
    for (let i = this.drawn - 1; i >= Math.max(0, this.drawn - KEPT); i--) {
      const { drawnAt } = this.ring[i % KEPT];
      if (drawnAt < now - RECENT_MS) break;
      first = drawnAt;
      n++;
    }
    return n < 4 ? 0 : ((n - 1) * 1000) / (newest - first);
  }

  // The value that a part `q` of the last latencies does not exceed; NaN where there are none.
  latency(q) {
    const sorted = [...this.latencies].sort((a, b) => a - b);
    return sorted[Math.ceil(q * sorted.length) - 1] ?? NaN;
  }

  // {frames: the last 4096 drawn, oldest first, counts}; keyToCanvasMs: from the event to the draw, null where the frame answers none.
  report() {
    const { drawn, received } = this;
    const frames = Array.from({ length: Math.min(drawn, KEPT) }, (_, i) => ({ ...this.ring[(Math.max(0, drawn - KEPT) + i) % KEPT] }));
    return { frames, counts: { received, drawn, unanswered: this.awaited.length } };
  }
}
