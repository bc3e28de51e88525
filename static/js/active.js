// The texts that keep another from being sent, each with a link and its Stop.

import { post } from "./post.js";

export class Active {
  #place;
  #form;
  #stopped;
  #say;

  /** `stopped` is called when one of them was stopped, `say` with a sentence when that did not work. */
  constructor(place, form, { stopped, say }) {
    [this.#place, this.#form, this.#stopped, this.#say] = [place, form, stopped, say];
  }

  /** Show `texts` ([{id, url, cancel, excerpt}]), or nothing. */
  show(texts = []) {
    this.#place.hidden = !texts.length;
    this.#place.querySelector("[data-active-list]").replaceChildren(...texts.map((text) => this.#row(text)));
    if (texts.length) this.#place.scrollIntoView({ block: "nearest" });
  }

  /** Stop the text of a button. */
  async stop(button) {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", true);
    const body = new FormData();
    body.set("csrfmiddlewaretoken", this.#form.elements.namedItem("csrfmiddlewaretoken").value);
    const answer = await post(button.formAction, body);
    if (!answer.ok && answer.status !== 404) {
      button.removeAttribute("aria-disabled");
      return this.#say(answer.message);
    }
    button.closest("li").remove();
    this.#place.hidden = !this.#place.querySelector("li");
    this.#stopped();
  }

  #row({ id, url, cancel, excerpt }) {
    const row = document.createElement("li");
    const link = document.createElement("a");
    link.href = url;
    link.append(excerpt ? foreign(excerpt) : "a text without a prompt");
    const button = document.createElement("button");
    button.className = "button button-small";
    button.formAction = cancel;
    button.dataset.cancel = id;
    const which = document.createElement("span");
    which.className = "visually-hidden";
    which.append(" ", foreign(excerpt));
    button.append("Stop", which);
    row.append(link, " ", button);
    return row;
  }
}

function foreign(text) {
  const element = document.createElement("bdi");
  element.textContent = text;
  return element;
}
