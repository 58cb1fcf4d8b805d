// The binary message of one frame. Its layout is told in protocol.py.

const MAGIC = 0x5243;
const VERSION = 2;
const HEADER_BYTES = 80;
const FIRST = 1, REPLAYED = 2;

// {header, bytes}: what is said of a picture, and the picture.
export function readFrame(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint16(0) !== MAGIC) throw new Error("The server sent something that is no frame.");
  if (view.getUint8(2) !== VERSION) throw new Error("The server speaks another version. Reload the page.");
  const flags = view.getUint8(3), steps = view.getUint16(26, true);
  const header = {
    flags,
    first: (flags & FIRST) !== 0,
    replayed: (flags & REPLAYED) !== 0,
    width: view.getUint16(4, true),
    height: view.getUint16(6, true),
    id: view.getUint32(8, true),
    actionId: view.getUint32(12, true),
    step: view.getUint32(16, true),
    seed: view.getUint32(20, true),
    scene: view.getUint16(24, true),
    actionIds: Array.from({ length: steps }, (_, i) => view.getUint32(HEADER_BYTES + 4 * i, true)),
    uncertainty: view.getFloat32(28, true),
    stepMs: view.getFloat32(56, true),
    encodeMs: view.getFloat32(60, true),
  };
  return { header, bytes: new Uint8Array(buffer, HEADER_BYTES + 4 * steps) };
}
