// The WebSocket: frames in, messages out, and another try whenever it breaks. The layout of a frame is in protocol.py.

const VERSION = 2;
const HEADER_BYTES = 80;
const CREDIT = 2;
const BUSY = 1013;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

export function readFrame(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint16(0) !== 0x5243) throw new Error("the server sent something that is no frame");
  if (view.getUint8(2) !== VERSION) throw new Error("the server speaks another version; reload the page");
  return {
    first: (view.getUint8(3) & 1) === 1,
    width: view.getUint16(4, true),
    height: view.getUint16(6, true),
    id: view.getUint32(8, true),
    actionId: view.getUint32(12, true),
    stepMs: view.getFloat32(56, true),
    encodeMs: view.getFloat32(60, true),
    jpeg: new Blob([new Uint8Array(buffer, HEADER_BYTES + 4 * view.getUint16(26, true))], { type: "image/jpeg" }),
  };
}

export class Link {
  // onOpen(info), onFrame(frame) -> promise, kept when drawn, onError(text), onClosed({busy, reason, retryMs})
  constructor(handlers) {
    this.handlers = handlers;
    this.failures = 0;
    this.actionId = 0;
    addEventListener("pagehide", () => this.socket?.close()); // a page kept for the back button must not keep the seat
    addEventListener("pageshow", (event) => event.persisted && this.connect());
  }

  async connect() {
    clearTimeout(this.timer);
    if (this.socket && this.socket.readyState < WebSocket.CLOSING) return;
    const here = new URL("drive", location.href);
    here.protocol = here.protocol.replace("http", "ws");
    const socket = (this.socket = new WebSocket(here));
    socket.binaryType = "arraybuffer";
    const info = fetch("info").then((answer) => answer.json());
    info.catch(() => socket.close());
    socket.onopen = async () => {
      this.send({ type: "create" });
      try {
        this.handlers.onOpen(await info);
      } catch {
        return;
      }
      this.send({ type: "credit", frames: CREDIT });
    };
    socket.onmessage = (event) => this.receive(socket, event.data);
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      const busy = event.code === BUSY;
      const retryMs = busy ? 3000 : RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)];
      this.timer = setTimeout(() => this.connect(), retryMs);
      this.handlers.onClosed({ busy, reason: event.reason, retryMs });
    };
  }

  async receive(socket, data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "error" && message.code !== "full") this.handlers.onError(message.message);
      return;
    }
    try {
      await this.handlers.onFrame(readFrame(data));
      this.failures = 0;
    } catch (error) {
      this.handlers.onError(error.message);
    }
    if (socket === this.socket) this.send({ type: "credit", frames: 1 });
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // Sends the controls and returns the id that the answering frame will carry.
  sendAction({ steer, throttle, brake }) {
    this.actionId += 1;
    this.send({ type: "action", id: this.actionId, steer, throttle, brake, time: performance.now() });
    return this.actionId;
  }
}
