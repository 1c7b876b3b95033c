// Small tools for elements. None of them parses markup: strings become text.

import { newestFirst } from './records.js';

export const byId = (id) => document.getElementById(id);

/** An element with properties, attributes (`data-…`, `aria-…`, `role`) and children; strings become text nodes. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes('-') || name === 'role') node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Sets text only when it differs, so that a selection survives an update elsewhere. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Texts in a row, each kept apart from its neighbours: a right-to-left override in a name
 * must not turn the company beside it around.
 */
export function setTexts(node, texts, between) {
  const parts = texts.filter(Boolean);
  if (node.textContent === parts.join(between)) return;
  node.replaceChildren(...parts.flatMap((text, i) => (i ? [between, el('bdi', {}, text)] : [el('bdi', {}, text)])));
}

/** Children of one container, by id, in the order of their records. */
export class Sorted {
  #box;
  #entries = new Map();
  #order = [];

  constructor(box) {
    this.#box = box;
  }

  get size() {
    return this.#order.length;
  }

  get(id) {
    return this.#entries.get(id)?.node;
  }

  ids() {
    return [...this.#entries.keys()];
  }

  insert(id, record, node) {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (newestFirst(record, this.#order[middle].record) < 0) high = middle;
      else low = middle + 1;
    }
    this.#box.insertBefore(node, this.#order[low]?.node ?? null);
    const entry = { record, node };
    this.#order.splice(low, 0, entry);
    this.#entries.set(id, entry);
  }

  remove(id) {
    const entry = this.#entries.get(id);
    if (!entry) return;
    this.#order.splice(this.#order.indexOf(entry), 1);
    this.#entries.delete(id);
    entry.node.remove();
  }

  clear() {
    this.ids().forEach((id) => this.remove(id));
  }
}

/** The part of a row or card that was built with this `data-part`. */
export function part(node, name) {
  return node.querySelector(`[data-part="${name}"]`);
}
