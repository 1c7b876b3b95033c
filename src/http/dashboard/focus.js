// Where the focus goes when what has it goes: without a place, keys and screen readers begin at the top again.

import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { walking } from './store.js';

/** For `ref`: gives a part the focus when it appears. The function stays the same, so that it is called once. */
export function focusOnce(node) {
  node?.focus({ preventScroll: true });
}

const holdsFocus = (node) => Boolean(node?.contains(document.activeElement));

/** For the `ref` of an item of a list, an `li` with a `tabIndex`: when it goes, the next gets the focus, or the heading. */
export function useItem() {
  const item = useRef(null);
  useLayoutEffect(() => {
    const node = item.current;
    return () => {
      if (!holdsFocus(node)) return;
      const region = node.closest('dialog') ?? node.closest('section[data-items]');
      const items = [...region.querySelectorAll('li[tabindex]')];
      const at = items.indexOf(node);
      (items[at + 1] ?? items[at - 1] ?? region.querySelector('h1, h2')).focus();
    };
  }, []);
  return item;
}

/** For the `ref` of what one presses in something: when it goes, or becomes something else, the whole gets the focus. */
export function usePartOf(selector) {
  const part = useRef(null);
  // As it is before this drawing.
  const whole = holdsFocus(part.current) ? part.current.closest(selector) : null;
  useLayoutEffect(() => {
    if (whole && !holdsFocus(whole)) whole.focus();
  });
  useLayoutEffect(() => () => {
    if (holdsFocus(part.current)) part.current.closest(selector).focus();
  }, []);
  return part;
}

/**
 * For the `ref` of a panel beside a view: it takes the focus when it opens, and gives it back when it goes, to what
 * opened it, to the row of what it showed last, or to the view.
 */
export function usePanel(id) {
  const box = useRef(null);
  const shown = useRef({ id: null, opener: null });
  // Before this drawing: a form in the panel takes the focus itself.
  if (shown.current.id !== id) shown.current = { id, opener: document.activeElement };
  useEffect(() => {
    if (!walking && !holdsFocus(box.current)) box.current.focus({ preventScroll: true });
  }, [id]);
  useLayoutEffect(() => {
    const node = box.current;
    return () => {
      if (holdsFocus(node) || document.activeElement === document.body) requestAnimationFrame(() => giveBack(shown.current));
    };
  }, []);
  return box;
}

function giveBack({ id, opener }) {
  // Something else has taken it already.
  if (document.activeElement !== document.body) return;
  const row = document.querySelector(`.row[data-id="${CSS.escape(id)}"]`);
  // Who has walked through a table is in another row by now.
  const from = opener?.matches('.row, body') ? null : opener;
  [from, row, document.getElementById('content')].some((node) => {
    node?.focus();
    return node && node === document.activeElement;
  });
}
