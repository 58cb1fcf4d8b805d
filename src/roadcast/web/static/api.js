// What the page asks over HTTP, and how its WebSocket is opened; a token, where the server wants one, lives as long as the tab.

const TOKEN = "roadcast.token";

export const token = () => sessionStorage.getItem(TOKEN) ?? "";
export const setToken = (value) => sessionStorage.setItem(TOKEN, value);

export class Refused extends Error {}

async function get(path) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  const answer = await fetch(path, { headers });
  if (answer.status === 401) throw new Refused("A token is needed that this server knows.");
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  return answer;
}

// Every model: {name, version, fps, width, height, scenes, seats, open, ...}
export const models = async () => (await get("v1/models")).json();

// What the server is called, and its codecs.
export const info = async () => (await get("info")).json();

// The last frame of a scene, as an address that an <img> can show; null where there is none.
export async function picture(model, scene) {
  try {
    return URL.createObjectURL(await (await get(`v1/models/${encodeURIComponent(model)}/scenes/${scene}.jpg`)).blob());
  } catch {
    return null;
  }
}

export function open() {
  const here = new URL("drive", location.href);
  here.protocol = here.protocol.replace("http", "ws");
  here.hash = "";
  return token() ? new WebSocket(here, ["roadcast.v2", `bearer.${token()}`]) : new WebSocket(here);
}
