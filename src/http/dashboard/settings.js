// What this browser's user prefers: language, color scheme, sound, desktop notifications. Shared by all tabs.

import { effect, signal } from '@preact/signals';

const KEY = 'bookbell-settings';
const DEFAULTS = { language: 'auto', theme: 'auto', sound: false, desktop: false };

/** `language`: auto, en, fr; `theme`: auto, light, dark; `sound` and `desktop`: booleans. */
export const settings = signal(read());

function read() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? '{}') };
  } catch {
    return DEFAULTS;
  }
}

export function change(part) {
  settings.value = { ...settings.value, ...part };
  localStorage.setItem(KEY, JSON.stringify(settings.value));
}

// Another tab changed them.
addEventListener('storage', ({ key }) => {
  if (key === KEY) settings.value = read();
});

// The style sheet has both schemes and follows the machine unless told otherwise.
effect(() => {
  const { theme } = settings.value;
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
});
