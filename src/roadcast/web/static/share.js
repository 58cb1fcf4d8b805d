// A drive as a link: where it began and every command, packed into the part of the address that no server sees.

const NAME = "replay=";

export async function toLink({ model, version, scene, seed, clip, log }) {
  const packed = await through(new CompressionStream("deflate-raw"), JSON.stringify([model, version, scene, seed, clip, log]));
  const text = btoa(Array.from(packed, (byte) => String.fromCharCode(byte)).join(""));
  const here = new URL(location.href);
  here.hash = NAME + text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  return here.href;
}

// {model, version, scene, seed, clip, log} of this address; null where it holds no drive, or one that is damaged.
export async function fromLink(hash) {
  const at = hash.indexOf(NAME);
  if (at < 0) return null;
  try {
    const text = atob(hash.slice(at + NAME.length).replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = await through(new DecompressionStream("deflate-raw"), Uint8Array.from(text, (letter) => letter.charCodeAt(0)));
    const [model, version, scene, seed, clip, log] = JSON.parse(new TextDecoder().decode(bytes));
    return { model, version, scene, seed, clip, log };
  } catch {
    return null;
  }
}

// {scene, seed, model} of an address that ends in #drive, such as #drive&scene=2&seed=7: drive at once, without asking; else null.
export function atOnce(hash) {
  const asked = new URLSearchParams(hash.slice(1));
  if (!asked.has("drive")) return null;
  return { model: asked.get("model") ?? "", scene: Number(asked.get("scene") ?? 0), seed: Number(asked.get("seed") ?? 0) };
}

async function through(stream, data) {
  const done = new Response(new Blob([data]).stream().pipeThrough(stream)).arrayBuffer();
  return new Uint8Array(await done);
}
