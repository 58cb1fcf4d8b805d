// The choice of a drive: world, scene and seed; and the token, where the server asks for one.

import { models, picture, Refused, setToken, token } from "./api.js";
import { sceneLabels } from "./names.js";

const $ = (id) => document.getElementById(id);

export class Start {
  // onDrive({model, scene, seed}); onLook(image): a scene has been chosen and looks like this.
  constructor(onDrive, onLook) {
    this.models = [];
    this.onLook = onLook;
    $("model").addEventListener("change", () => {
      this.showScenes();
      this.see();
    });
    $("dice").addEventListener("click", () => ($("seed").value = Math.floor(Math.random() * 10_000)));
    $("back").addEventListener("click", () => $("start-sheet").close("back"));
    $("scenes").addEventListener("change", () => this.look());
    $("start-sheet").addEventListener("cancel", (event) => this.canGoBack || event.preventDefault());
    $("start-sheet").querySelector("form").addEventListener("submit", (event) => {
      if (!$("token-field").hidden) {
        event.preventDefault();
        setToken($("token").value.trim());
        location.reload();
        return;
      }
      onDrive(this.chosen);
    });
  }

  // Asks the server what there is: false where it wants a token first. Throws where it does not answer.
  async load() {
    try {
      this.models = await models();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.askToken(token() ? "The server does not know this token." : "");
      return false;
    }
    $("model").replaceChildren(...this.models.map(({ name }) => new Option(name, name)));
    $("model-field").hidden = this.models.length < 2;
    this.showScenes();
    return true;
  }

  askToken(complaint) {
    $("token-field").hidden = false;
    if (complaint) $("token-field").lastElementChild.textContent = complaint;
    $("scenes").parentElement.hidden = true;
    $("go").textContent = "Go on";
    $("start-sheet").showModal();
    $("token").focus();
  }

  model(name) {
    return this.models.find((one) => one.name === name) ?? this.models[0];
  }

  label(model, scene) {
    return sceneLabels(this.model(model)?.scenes ?? [])[scene] ?? "";
  }

  get chosen() {
    const seed = Math.min(2 ** 32 - 1, Math.max(0, Math.floor($("seed").valueAsNumber || 0)));
    return { model: $("model").value, scene: Number($("scenes").querySelector(":checked")?.value ?? 0), seed };
  }

  showScenes() {
    const model = this.model($("model").value), labels = sceneLabels(model.scenes);
    $("scenes").replaceChildren(...labels.map((label, scene) => this.card(model, label, scene)));
  }

  card(model, text, scene) {
    const label = document.createElement("label"), input = document.createElement("input"), name = document.createElement("span");
    label.className = "scene";
    label.title = model.scenes[scene];
    Object.assign(input, { type: "radio", name: "scene", value: scene, checked: scene === 0 });
    name.textContent = text;
    label.append(input, document.createElement("i"), name);
    return label;
  }

  // Asks for the pictures of scenes that have none: while every seat is taken there are none to be had.
  see() {
    for (const place of $("scenes").querySelectorAll("i")) {
      const input = place.parentElement.querySelector("input");
      picture($("model").value, input.value).then((address) => {
        if (!address) return;
        const image = Object.assign(document.createElement("img"), { alt: "", src: address });
        image.onload = () => {
          place.replaceWith(image);
          if (input.checked) this.look();
        };
      });
    }
  }

  look() {
    const image = $("scenes").querySelector(":checked ~ img");
    if (image) this.onLook(image);
  }
}
