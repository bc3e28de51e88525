// The list of texts in progress that keep another one from being sent. Each has a link and a Stop.

import { post } from "./post.js";

export class Active {
  #place;
  #form;
  #stopped;
  #say;

  /**
   * @param {HTMLElement} place the list with its heading
   * @param {HTMLFormElement} form the form whose token a Stop sends along
   * @param {{stopped: () => void, say: (sentence: string) => void}} callbacks
   *   `stopped` is called after a text was stopped, `say` with the reason when stopping failed
   */
  constructor(place, form, { stopped, say }) {
    [this.#place, this.#form, this.#stopped, this.#say] = [place, form, stopped, say];
  }

  /**
   * Show `texts`, or hide the list when there are none.
   * @param {{id: string, url: string, cancel: string, excerpt: string}[]} texts
   */
  show(texts = []) {
    this.#place.hidden = !texts.length;
    this.#place.querySelector("[data-active-list]").replaceChildren(...texts.map(row));
    if (texts.length) this.#place.scrollIntoView({ block: "nearest" });
  }

  /**
   * Stop the text that `button` belongs to. A text that is already gone (404) counts as stopped.
   * @param {HTMLButtonElement} button
   */
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
}

function row({ id, url, cancel, excerpt }) {
  const item = document.createElement("li");
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
  item.append(link, " ", button);
  return item;
}

function foreign(text) {
  const element = document.createElement("bdi");
  element.textContent = text;
  return element;
}
