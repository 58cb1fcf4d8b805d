// Pictures as they come, decoded in order.

export class Picture {
  // onDrawable(drawable, header): draw it, then close() it; null where the bytes are no picture.
  constructor(onDrawable) {
    this.onDrawable = onDrawable;
    this.last = Promise.resolve();
    this.closed = false;
  }

  push(bytes, header) {
    const decoded = createImageBitmap(new Blob([bytes], { type: "image/jpeg" })).catch(() => null);
    this.last = Promise.all([decoded, this.last]).then(([drawable]) => {
      if (this.closed) drawable?.close();
      else this.onDrawable(drawable, header);
    });
  }

  close() {
    this.closed = true;
  }
}
