// What a screen reader is told: one text behind the other, so that none is lost in the next.

import { signal } from '@preact/signals';

const SOON_MS = 400;
const APART_MS = 1_500;
/** In a flood only the newest are told: nobody can hear them all. */
const MOST = 3;

/** What is told now: `{id, text}`, or null. The same text again is another one. */
export const announcement = signal(null);
let waiting = [];
let timer = 0;
let last = 0;

export function announce(text) {
  waiting = [...waiting, text].slice(-MOST);
  timer ||= setTimeout(tellNext, SOON_MS);
}

/** Takes back what has not been told. */
export function hush() {
  waiting = [];
  announcement.value = null;
}

function tellNext() {
  const text = waiting.shift();
  timer = text === undefined ? 0 : setTimeout(tellNext, APART_MS);
  if (text === undefined) return;
  last += 1;
  announcement.value = { id: last, text };
}
