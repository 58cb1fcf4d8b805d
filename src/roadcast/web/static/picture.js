// Pictures as they come, decoded in order: JPEGs, or one stream of H.264 by WebCodecs.

const H264 = 4, KEY = 8; // flags in protocol.py
const PARAMETERS = 7; // H.264's kind of unit that says what decoder is needed
const TICK = 1000;
const PLAIN = "avc1.42c01e"; // constrained baseline, as large as a world may well be

// Whether this browser can; one may have WebCodecs and not this codec.
export const decodesH264 = "VideoDecoder" in window && (await VideoDecoder.isConfigSupported({ codec: PLAIN }).catch(() => ({}))).supported === true;

export class Picture {
  // onDrawable(drawable, header): draw it, then close() it; null where the bytes are no picture.
  // onLost(): the stream cannot be decoded before the next key frame, for which the server is to be asked.
  constructor(onDrawable, onLost = () => {}) {
    this.onDrawable = onDrawable;
    this.stream = new Stream(onLost);
    this.last = Promise.resolve();
    this.closed = false;
  }

  push(bytes, header) {
    const { flags } = header;
    const decoded = flags & H264 ? this.stream.decode(bytes, (flags & KEY) !== 0) : createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    this.last = Promise.all([decoded.catch(() => null), this.last]).then(([drawable]) => {
      if (this.closed) drawable?.close();
      else this.onDrawable(drawable, header);
    });
  }

  close() {
    this.closed = true;
    this.stream.close();
  }
}

class Stream {
  constructor(onLost) {
    this.onLost = onLost;
    this.decoder = null;
    this.waiting = new Map(); // by timestamp, those who wait for a picture
    this.time = 0;
  }

  // The picture of one access unit; null where it is damaged, or nothing before it can be decoded.
  async decode(data, key) {
    if (!this.decoder && key) this.open(data);
    if (!this.decoder) return null;
    const timestamp = (this.time += TICK);
    const picture = new Promise((resolve) => this.waiting.set(timestamp, resolve));
    try {
      this.decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp, data }));
    } catch {
      this.lose();
    }
    return picture;
  }

  open(data) {
    this.decoder = new VideoDecoder({ output: (frame) => this.give(frame.timestamp, frame), error: () => this.lose() });
    this.decoder.configure({ codec: codecOf(data), optimizeForLatency: true });
  }

  give(timestamp, frame) {
    this.waiting.get(timestamp)(frame);
    this.waiting.delete(timestamp);
  }

  lose() {
    this.close();
    this.onLost();
  }

  close() {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
    for (const timestamp of this.waiting.keys()) this.give(timestamp, null);
  }
}

// What WebCodecs calls a stream that begins so: profile, constraints and level, as the parameters tell them.
function codecOf(data) {
  const at = data.findIndex((_, i) => !data[i] && !data[i + 1] && data[i + 2] === 1 && (data[i + 3] & 31) === PARAMETERS);
  return "avc1." + Array.from(data.subarray(at + 4, at + 7), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
