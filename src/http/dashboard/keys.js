// Keyboard shortcuts: which key does what, and when keys are somebody else's.

const bindings = new Map();

/** Binds a key (`event.key`, or `g p` for two in a row) while the answer is not called. */
export function bind(key, action) {
  const stack = bindings.get(key) ?? [];
  bindings.set(key, [...stack, action]);
  return () => bindings.set(key, bindings.get(key).filter((one) => one !== action));
}

let first = '';
let firstAt = 0;

addEventListener('keydown', (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.('input, textarea, select, [contenteditable]');
  if (typing && event.key !== 'Escape') return;
  // Behind an open dialog nothing moves.
  if (document.querySelector('dialog[open]')) return;
  const pair = Date.now() - firstAt < 1_500 ? `${first} ${event.key}` : '';
  first = event.key;
  firstAt = Date.now();
  const action = bindings.get(pair)?.at(-1) ?? bindings.get(event.key)?.at(-1);
  // The last that was bound goes first; it answers false to leave the key to the browser.
  if (action && action(event) !== false) event.preventDefault();
});
