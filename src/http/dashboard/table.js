// A list of any length as a table: only the rows in sight are in the document, and nothing moves under the pointer.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { bind } from './keys.js';
import { t } from './i18n.js';
import { calm, html, Icon } from './ui.js';

const OVERSCAN = 12;
/** The next page is asked for when fewer rows than this are left below. */
const AHEAD = 60;
const NARROW = matchMedia('(max-width: 52rem)');

/**
 * @param {{
 *   list: import('./list.js').List, label: string, testid: string, rowTestid: string,
 *   columns: {key: string, label: string}[], row: (record: object) => any,
 *   idOf: (record: object) => string, heights: [number, number],
 *   selected: string|null, onOpen: (id: string) => void,
 *   rowProps?: (record: object) => object,
 * }} props `row` fills one row's cells; `heights` are a row's on wide and narrow screens, in pixels.
 */
export function Table(props) {
  const { list, label, testid, columns, idOf, heights, selected, onOpen } = props;
  const box = useRef(null);
  const inner = useRef(null);
  const [view, setView] = useState({ top: 0, size: 1_000 });
  const [focused, setFocused] = useState(null);
  const height = useHeight(heights);
  const version = list.version.value;
  const still = useStillness({ list, box, inner, height, version, setView, idOf });

  useLayoutEffect(() => {
    const measure = () => setView({ top: box.current.scrollTop, size: box.current.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    measure();
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const end = Math.ceil((view.top + view.size) / height);
    if (list.hasMore && end + AHEAD > list.items.length) list.more().catch(() => {});
  }, [view.top, view.size, version, height]);
  useRowKeys({ list, idOf, height, box, focused, setFocused, selected, onOpen });

  const first = Math.max(0, Math.floor(view.top / height) - OVERSCAN);
  const last = Math.min(list.items.length, Math.ceil((view.top + view.size) / height) + OVERSCAN);
  const rows = list.items.slice(first, last);
  const holder = rows.some((record) => idOf(record) === focused) ? focused : (rows[0] && idOf(rows[0]));
  return html`<div class="table" role="grid" aria-label=${label} aria-rowcount=${list.hasMore ? -1 : list.items.length + 1}
    aria-readonly="true">
    ${still.above > 0 && html`<button type="button" class="above" onClick=${still.toTop}><${Icon} name="up" />${t('arrived_above', { n: still.above })}</button>`}
    <div class="tbody" role="presentation" ref=${box} data-testid=${testid} onScroll=${still.onScroll}
      onPointerMove=${still.onPointerMove} onPointerLeave=${still.onPointerLeave}>
      <div role="rowgroup" class="thead-box"><div class="thead" role="row" aria-rowindex="1">
        ${columns.map(({ key, label: text }) => html`<span key=${key} role="columnheader" class=${`cell ${key}`}>${text}</span>`)}
      </div></div>
      <div class="room" role="rowgroup" ref=${inner} style=${{ height: `${Math.max(list.items.length * height, still.room)}px` }}>
        ${rows.map((record, i) => {
          const id = idOf(record);
          const props_ = props.rowProps?.(record) ?? {};
          return html`<div key=${id} role="row" class=${`row ${list.fresh.has(id) ? 'fresh' : ''} ${props_.class ?? ''}`}
            data-testid=${props.rowTestid} data-id=${id} aria-rowindex=${first + i + 2} aria-selected=${String(id === selected)}
            tabIndex=${id === holder ? 0 : -1} style=${{ transform: `translateY(${(first + i) * height}px)`, height: `${height}px` }}
            onFocus=${() => setFocused(id)} onClick=${(event) => { if (!event.target.closest('a, button')) onOpen(id); }}>
            ${props.row(record)}
          </div>`;
        })}
      </div>
    </div>
  </div>`;
}

function useHeight([wide, narrow]) {
  const [isNarrow, setNarrow] = useState(NARROW.matches);
  useEffect(() => {
    const change = () => setNarrow(NARROW.matches);
    NARROW.addEventListener('change', change);
    return () => NARROW.removeEventListener('change', change);
  }, []);
  return isNarrow ? narrow : wide;
}

/**
 * Keeps what one looks at where it is. Rows that arrive above slide in only at the top of the list and while
 * the pointer is elsewhere; else they wait above, and a button says how many.
 */
function useStillness({ list, box, inner, height, version, setView, idOf }) {
  const here = useRef({ pointer: false, anchor: null, firstId: null, question: list.question });
  const [above, setAbove] = useState(0);
  const [room, setRoom] = useState(0);
  const look = () => {
    const { scrollTop, clientHeight } = box.current;
    const index = Math.floor(scrollTop / height);
    const record = list.items[index];
    here.current.anchor = record ? { id: idOf(record), index, offset: scrollTop - index * height } : null;
    here.current.firstId = list.items[0] ? idOf(list.items[0]) : null;
    setView((old) => (old.top === scrollTop && old.size === clientHeight ? old : { top: scrollTop, size: clientHeight }));
    if (scrollTop < 2) {
      setAbove(0);
      setRoom(0);
    }
  };
  useLayoutEffect(() => {
    if (here.current.question !== list.question) {
      here.current = { ...here.current, anchor: null, firstId: null, question: list.question };
      box.current.scrollTop = 0;
    }
    const { anchor, pointer, firstId } = here.current;
    const index = anchor ? list.indexOf(anchor.id) : -1;
    const moved = index - (anchor?.index ?? 0);
    const before = firstId === null ? -1 : list.indexOf(firstId);
    if (index >= 0 && moved !== 0 && (pointer || box.current.scrollTop >= 2)) {
      const top = index * height + anchor.offset;
      setRoom(top + box.current.clientHeight);
      inner.current.style.height = `${Math.max(list.items.length * height, top + box.current.clientHeight)}px`;
      box.current.scrollTop = top;
      if (before > 0) setAbove((n) => n + before);
    } else if (before > 0 && !calm()) {
      const from = `translateY(${-Math.min(before, 3) * height}px)`;
      inner.current.animate([{ transform: from }, { transform: 'none' }], { duration: 260, easing: 'cubic-bezier(.2,.7,.2,1)' });
    }
    look();
  }, [version, height]);
  return {
    above,
    room,
    onScroll: look,
    // Only a hand moves it by some way: a browser also reports a pointer that lies still under a new row.
    onPointerMove: (event) => {
      if (event.pointerType === 'mouse' && (event.movementX || event.movementY)) here.current.pointer = true;
    },
    onPointerLeave: () => { here.current.pointer = false; },
    toTop: () => {
      here.current.pointer = false;
      box.current.scrollTo({ top: 0, behavior: calm() ? 'auto' : 'smooth' });
    },
  };
}

/** j and k, the arrows, Home and End walk through the rows; Enter opens one. While one is open, walking opens the next. */
function useRowKeys({ list, idOf, height, box, focused, setFocused, selected, onOpen }) {
  const walk = useRef(null);
  walk.current = (step) => {
    const from = list.indexOf(focused ?? selected ?? '');
    const to = Math.max(0, Math.min(list.items.length - 1, Number.isFinite(step) ? from + step : (step > 0 ? list.items.length - 1 : 0)));
    const record = list.items[to];
    if (!record) return;
    const id = idOf(record);
    showRow(box.current, to, height);
    setFocused(id);
    // The row is drawn by then: it was scrolled into sight.
    requestAnimationFrame(() => box.current?.querySelector(`[data-id="${CSS.escape(id)}"]`)?.focus({ preventScroll: true }));
    if (selected) onOpen(id, { walking: true });
  };
  const inRow = (event) => event.target.closest?.('.tbody') === box.current || event.target === document.body;
  const inTable = (step) => (event) => (inRow(event) ? walk.current(step) : false);
  const current = useRef(null);
  current.current = { focused, onOpen };
  useEffect(() => {
    const page = () => Math.max(1, Math.floor(box.current.clientHeight / height) - 1);
    const unbind = [
      bind('j', () => walk.current(1)), bind('k', () => walk.current(-1)),
      bind('ArrowDown', inTable(1)), bind('ArrowUp', inTable(-1)),
      bind('PageDown', (event) => inTable(page())(event)), bind('PageUp', (event) => inTable(-page())(event)),
      bind('Home', inTable(-Infinity)), bind('End', inTable(Infinity)),
      bind('Enter', (event) => {
        if (!event.target.matches?.('.row') || !current.current.focused) return false;
        return current.current.onOpen(current.current.focused);
      }),
    ];
    return () => unbind.forEach((one) => one());
  }, [list, height]);
}

function showRow(box, index, height) {
  const top = index * height;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
}
