// Short messages that come and go by themselves, and are told to screen readers.

import { signal } from '@preact/signals';
import { announce, hush } from './announce.js';

const TOAST_MS = 7_000;
const MOST = 3;

/** Those on the screen: `{id, title, texts, href?}`, newest last. */
export const toasts = signal([]);
let last = 0;

/** @param {string} title @param {string[]} texts what a booker typed may be among them @param {string} [href] where it leads */
export function toast(title, texts = [], href = null) {
  last += 1;
  const id = last;
  toasts.value = [...toasts.value, { id, title, texts: texts.filter(Boolean), href }].slice(-MOST);
  announce([title, ...texts.filter(Boolean)].join(', '));
  setTimeout(() => leave(id), TOAST_MS);
}

/** Whoever signs in next is told nothing of what came for the one before. */
export function dismissAll() {
  toasts.value = [];
  hush();
}

export function dismiss(id) {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

/** Not while somebody is reading it or about to press it. */
function leave(id) {
  const node = document.querySelector(`[data-toast="${id}"]`);
  if (node?.matches(':hover, :focus-within')) setTimeout(() => leave(id), 1_000);
  else dismiss(id);
}
