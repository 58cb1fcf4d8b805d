// A film of what is seen: as mp4 where the browser can write it, else as WebM. Two futures are filmed side by side.

const KINDS = ["video/mp4;codecs=avc1.42E01F", "video/mp4;codecs=avc1", "video/mp4;codecs=vp09.00.10.08", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const LEAST_WIDTH = 640; // a smaller world is filmed enlarged, pixel by pixel
const BITS_PER_PIXEL = 4; // a second

export class Recorder {
  static get kind() {
    return globalThis.MediaRecorder && KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
  }

  constructor(panes) {
    const { width, height } = panes[0].canvas;
    this.scale = Math.max(1, Math.ceil(LEAST_WIDTH / width));
    this.canvas = document.createElement("canvas");
    this.canvas.width = 2 * Math.ceil((width * this.scale * panes.length) / 2); // H.264 wants even sizes
    this.canvas.height = 2 * Math.ceil((height * this.scale) / 2);
    this.pen = this.canvas.getContext("2d", { alpha: false });
    this.pen.imageSmoothingEnabled = false;
    this.begun = performance.now();
    this.parts = [];
    this.draw(panes);
    this.media = new MediaRecorder(this.canvas.captureStream(), {
      mimeType: Recorder.kind,
      videoBitsPerSecond: BITS_PER_PIXEL * this.canvas.width * this.canvas.height,
    });
    this.media.ondataavailable = ({ data }) => data.size && this.parts.push(data);
    this.media.start(1000);
  }

  // Something new is on a canvas.
  draw(panes) {
    const share = this.canvas.width / panes.length;
    panes.forEach(({ canvas }, i) => {
      const scale = Math.min(share / canvas.width, this.canvas.height / canvas.height);
      const [width, height] = [canvas.width * scale, canvas.height * scale];
      this.pen.drawImage(canvas, i * share + (share - width) / 2, (this.canvas.height - height) / 2, width, height);
    });
  }

  get seconds() {
    return (performance.now() - this.begun) / 1000;
  }

  // {blob, ending}: the film, and how its name ends.
  stop() {
    return new Promise((done) => {
      this.media.onstop = () => {
        const kind = this.media.mimeType.split(";")[0];
        done({ blob: new Blob(this.parts, { type: kind }), ending: kind === "video/mp4" ? "mp4" : "webm" });
      };
      this.media.stop();
      this.media.stream.getTracks().forEach((track) => track.stop());
    });
  }
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
