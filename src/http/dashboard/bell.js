// Rings: a sound made here, and desktop notifications while the tab is hidden. Both only where switched on.

import { go } from './store.js';
import { change, settings } from './settings.js';

let audio = null;

/** Two notes of a small bell. Browsers allow it after the first click or key. */
export function ring() {
  audio ??= new AudioContext();
  audio.resume();
  [[988, 0], [1319, 0.14]].forEach(([frequency, delay]) => strike(frequency, audio.currentTime + delay));
}

function strike(frequency, at) {
  const tone = new OscillatorNode(audio, { type: 'sine', frequency });
  const volume = new GainNode(audio, { gain: 0 });
  volume.gain.setValueAtTime(0, at);
  volume.gain.linearRampToValueAtTime(0.16, at + 0.01);
  volume.gain.exponentialRampToValueAtTime(0.0005, at + 0.9);
  tone.connect(volume).connect(audio.destination);
  tone.start(at);
  tone.stop(at + 1);
}

/** Rings for an arrival, in one tab of the browser only. */
export function ringFor(id) {
  if (settings.value.sound) once(`bookbell-ring-${id}`, ring);
}

/** Of all tabs, the first does it. Without locks (plain HTTP on another host) each does. */
function once(name, task) {
  if (!navigator.locks) {
    task();
    return;
  }
  navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    task();
    await new Promise((resolve) => { setTimeout(resolve, 3_000); });
  });
}

/** Switches desktop notifications on, if the browser's user agrees. */
export async function switchDesktop(on) {
  if (!on) change({ desktop: false });
  else change({ desktop: 'Notification' in window && (await Notification.requestPermission()) === 'granted' });
}

export const canNotify = 'Notification' in window;

/** A desktop notification while nobody looks at this tab. The tag makes those of several tabs one. */
export function notify(id, title, body, view, recordId) {
  if (!settings.value.desktop || !document.hidden || !canNotify || Notification.permission !== 'granted') return;
  const icon = new URL('favicon.svg', import.meta.url).href;
  let shown;
  try {
    shown = new Notification(title, { body, tag: id, icon });
  } catch {
    // Some phones let only service workers notify.
    return;
  }
  shown.onclick = () => {
    window.focus();
    go(view, recordId);
    shown.close();
  };
}
