// Small pictures of the last minute, for a look back before going there.

const WIDTH = 256, EVERY_S = 0.25, KEPT = 240;

export class Strip {
  constructor() {
    this.pictures = []; // {step, bitmap}, oldest first
  }

  // The canvas shows this step: keep a picture of it if it is time for one.
  async see(canvas, { step, first }, fps) {
    if (first) while (this.pictures.length && this.pictures.at(-1).step > step) this.pictures.pop().bitmap.close();
    const last = this.pictures.at(-1)?.step ?? -Infinity;
    if (step - last < EVERY_S * fps) return;
    const slot = { step, bitmap: null };
    this.pictures.push(slot);
    if (this.pictures.length > KEPT) this.pictures.shift().bitmap?.close();
    const width = Math.min(WIDTH, canvas.width), height = Math.round((width * canvas.height) / canvas.width);
    slot.bitmap = await createImageBitmap(canvas, { resizeWidth: width, resizeHeight: height });
  }

  // Shows the picture nearest to a step.
  show(canvas, step) {
    const kept = this.pictures.filter(({ bitmap }) => bitmap);
    if (!kept.length) return;
    const nearest = kept.reduce((best, one) => (Math.abs(one.step - step) < Math.abs(best.step - step) ? one : best));
    canvas.getContext("2d").drawImage(nearest.bitmap, 0, 0, canvas.width, canvas.height);
  }

  clear() {
    for (const { bitmap } of this.pictures.splice(0)) bitmap?.close();
  }
}
