// A list of any length as a table: only the rows in sight are in the document, and nothing moves under the pointer.

import { Component } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { bind } from './keys.js';
import { t } from './i18n.js';
import { calm, html, Icon } from './ui.js';

const OVERSCAN = 12;
/** The next page is asked for when fewer rows than this are left below. */
const AHEAD = 60;
/** So long after it last moved, the pointer counts as laid down. */
const HAND_MS = 4_000;
const NARROW = matchMedia('(max-width: 52rem)');

/**
 * @param {{
 *   list: import('./list.js').List, label: string, testid: string, rowTestid: string,
 *   columns: string[], row: (props: {record: object, columns: string[]}) => any, kind?: string,
 *   idOf: (record: object) => string, heights: [number, number],
 *   selected: string|null, onOpen: (id: string) => void,
 *   look?: (record: object) => string,
 * }} props `row` is the component of a row's cells and `look` its classes; `columns` stays the same array while it
 *   says the same; `heights` are a row's on wide and narrow screens, in pixels, as the style sheet has them.
 */
export function Table(props) {
  const { list, label, testid, columns, idOf, heights, selected, onOpen } = props;
  const box = useRef(null);
  const inner = useRef(null);
  const [view, setView] = useState({ top: 0, size: 1_000 });
  const [focused, setFocused] = useState(null);
  const height = useHeight(heights);
  const version = list.version.value;
  const still = useStillness({ list, box, inner, height, version, view, setView, idOf });

  useLayoutEffect(() => {
    const measure = () => setView((old) => ({ ...old, size: box.current.clientHeight }));
    const observer = new ResizeObserver(measure);
    observer.observe(box.current);
    measure();
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const end = still.skip + Math.ceil((view.top + view.size) / height);
    if (list.hasMore && end + AHEAD > list.items.length) list.more().catch(() => {});
  }, [view.top, view.size, version, height]);
  useNextRow({ list, idOf, box });
  useRowKeys({ list, idOf, height, box, skip: still.skip, focused, setFocused, selected, onOpen });

  const { skip } = still;
  const first = Math.max(skip, skip + Math.floor(view.top / height) - OVERSCAN);
  const last = Math.min(list.items.length, skip + Math.ceil((view.top + view.size) / height) + OVERSCAN);
  const records = list.items.slice(first, last);
  const holder = records.some((record) => idOf(record) === focused) ? focused : (records[0] && idOf(records[0]));
  const idAt = (event) => event.target.closest('.row')?.dataset.id;
  const click = (event) => {
    if (idAt(event) && !event.target.closest('a, button')) onOpen(idAt(event));
  };
  return html`<div class=${`table ${props.kind ?? ''}`} role="grid" aria-label=${label} aria-rowcount=${list.hasMore ? -1 : list.items.length + 1} aria-readonly="true">
    ${skip > 0 && html`<button type="button" class="above" onClick=${still.toTop}><${Icon} name="up" />${t('arrived_above', { n: skip })}</button>`}
    <div class="tbody" role="presentation" ref=${box} data-testid=${testid} onScroll=${still.onScroll}
      onPointerMove=${still.onPointerMove} onPointerLeave=${still.onPointerLeave}>
      <${Head} columns=${columns} />
      <div class="room" role="rowgroup" ref=${inner} onClick=${click} onFocusIn=${(event) => idAt(event) && setFocused(idAt(event))}
        style=${{ height: `${(list.items.length - skip) * height}px` }}>
        <div class="rows" role="presentation" style=${{ transform: `translateY(${(first - skip) * height}px)` }}>
          ${records.map((record, i) => {
            const id = idOf(record);
            return html`<${Row} key=${id} id=${id} record=${record} index=${first + i + 2} testid=${props.rowTestid} draw=${props.row} columns=${columns}
              look=${`${props.look?.(record) ?? ''} ${list.fresh.has(id) ? 'fresh' : ''}`} selected=${id === selected} holder=${id === holder} />`;
          })}
        </div>
      </div>
    </div>
  </div>`;
}

const Head = ({ columns }) => html`<div role="rowgroup" class="thead-box"><div class="thead" role="row" aria-rowindex="1">
  ${columns.map((key) => html`<span key=${key} role="columnheader" class=${`cell ${key}`}>${t(`column.${key}`)}</span>`)}</div></div>`;

/** Drawn again only when something about it changed: at a hundred events a second that is what keeps keys quick. */
class Row extends Component {
  shouldComponentUpdate(next) {
    return Object.keys(next).some((key) => next[key] !== this.props[key]);
  }

  render({ id, record, index, testid, draw: Cells, columns, look, selected, holder }) {
    return html`<div role="row" class=${`row ${look}`} data-testid=${testid} data-id=${id} aria-rowindex=${index}
      aria-selected=${String(selected)} tabIndex=${holder ? 0 : -1}><${Cells} record=${record} columns=${columns} /></div>`;
  }
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
 * Keeps what one looks at where it is. Rows that arrive above slide in only at the top of the list and while no
 * hand is on the pointer there. Else the list begins behind them: `skip` rows wait above, and a button says so.
 */
function useStillness({ list, box, inner, height, version, view, setView, idOf }) {
  // What is known of the box is remembered: to ask it would make the browser lay out in the middle of a frame.
  const here = useRef({ top: 0, skip: 0, inside: false, movedAt: 0, timer: 0, anchor: null, firstId: null, question: list.question, slidAt: 0 });
  const [skip, setSkip] = useState(0);
  const now = here.current;
  const look = () => {
    const index = now.skip + Math.floor(now.top / height);
    const idAt = (at) => (list.items[at] ? idOf(list.items[at]) : null);
    Object.assign(now, { firstId: idAt(0), anchor: idAt(index) === null ? null : { id: idAt(index), index } });
    setSkip(now.skip);
    setView((old) => (old.top === now.top ? old : { ...old, top: now.top }));
  };
  const slide = (rows) => {
    if (calm() || performance.now() - now.slidAt < 600) return;
    now.slidAt = performance.now();
    const from = `translateY(${-Math.min(rows, 3) * height}px)`;
    inner.current.animate([{ transform: from }, { transform: 'none' }], { duration: 260, easing: 'cubic-bezier(.2,.7,.2,1)' });
  };
  const isHeld = () => now.top >= 2 || (now.inside && performance.now() - now.movedAt < HAND_MS);
  /** Lets those in that waited, when nothing holds them any more. */
  const letIn = () => {
    clearTimeout(now.timer);
    if (now.skip === 0) return;
    if (isHeld()) {
      now.timer = setTimeout(letIn, HAND_MS);
      return;
    }
    slide(now.skip);
    now.skip = 0;
    look();
  };
  useLayoutEffect(() => {
    if (now.question !== list.question) {
      Object.assign(now, { anchor: null, firstId: null, question: list.question, top: 0, skip: 0 });
      box.current.scrollTop = 0;
    }
    const index = now.anchor ? list.indexOf(now.anchor.id) : -1;
    const moved = index < 0 ? 0 : index - now.anchor.index;
    const before = now.firstId === null ? -1 : list.indexOf(now.firstId);
    if (moved !== 0 && (now.skip > 0 || isHeld())) {
      const wanted = now.skip + moved;
      now.skip = Math.max(0, wanted);
      // Fewer are above than were scrolled past.
      if (wanted < 0) box.current.scrollTop = now.top += wanted * height;
      clearTimeout(now.timer);
      now.timer = setTimeout(letIn, HAND_MS);
    } else if (before > 0) {
      slide(before);
    }
    now.skip = Math.min(now.skip, list.items.length);
    look();
  }, [version, height]);
  useEffect(() => () => clearTimeout(now.timer), []);
  return {
    skip,
    onScroll: () => {
      now.top = box.current.scrollTop;
      // Who scrolls up to the top goes on into what waited there.
      if (now.top < 2 && now.skip > 0) {
        inner.current.style.height = `${list.items.length * height}px`;
        now.top = box.current.scrollTop = now.skip * height;
        now.skip = 0;
      }
      look();
    },
    // Only a hand moves it by some way: a browser also reports a pointer that lies still under a new row.
    onPointerMove: (event) => {
      if (event.pointerType === 'mouse' && (event.movementX || event.movementY)) Object.assign(now, { inside: true, movedAt: performance.now() });
    },
    onPointerLeave: () => {
      now.inside = false;
      letIn();
    },
    toTop: () => {
      Object.assign(now, { inside: false, top: 0 });
      box.current.scrollTop = 0;
      letIn();
    },
  };
}

/** j and k, the arrows, Home and End walk through the rows; Enter opens one. While one is open, walking opens the next. */
function useRowKeys({ list, idOf, height, box, skip, focused, setFocused, selected, onOpen }) {
  const walk = useRef(null);
  const current = useRef(null);
  current.current = { focused, onOpen };
  walk.current = (step) => {
    const from = Math.max(skip - 1, list.indexOf(focused ?? selected ?? ''));
    const to = Math.max(skip, Math.min(list.items.length - 1, Number.isFinite(step) ? from + step : (step > 0 ? list.items.length - 1 : 0)));
    const record = list.items[to];
    if (!record) return;
    const id = idOf(record);
    showRow(box.current, to - skip, height);
    setFocused(id);
    current.current = { ...current.current, focused: id };
    // Where it has just been scrolled into sight it is drawn by the next frame.
    if (!focusRow(box.current, id)) requestAnimationFrame(() => focusRow(box.current, id));
    if (selected) onOpen(id, { walking: true });
  };
  const inRow = (event) => event.target.closest?.('.tbody') === box.current || event.target === document.body;
  const inTable = (step) => (event) => (inRow(event) ? walk.current(step) : false);
  useEffect(() => {
    const page = () => Math.max(1, Math.floor(box.current.clientHeight / height) - 1);
    const unbind = [
      bind('j', () => walk.current(1)), bind('k', () => walk.current(-1)),
      bind('ArrowDown', inTable(1)), bind('ArrowUp', inTable(-1)),
      bind('PageDown', (event) => inTable(page())(event)), bind('PageUp', (event) => inTable(-page())(event)),
      bind('Home', inTable(-Infinity)), bind('End', inTable(Infinity)),
      bind('Enter', (event) => {
        if (!current.current.focused || !(event.target.matches?.('.row') || event.target === document.body)) return false;
        return current.current.onOpen(current.current.focused);
      }),
    ];
    return () => unbind.forEach((one) => one());
  }, [list, height]);
}

/** When the row that has the focus goes from the list, the one in its place gets it. */
function useNextRow({ list, idOf, box }) {
  // As it is before this drawing.
  const row = box.current?.contains(document.activeElement) ? document.activeElement.closest('.row') : null;
  const place = row && row.ariaRowIndex - 2;
  useLayoutEffect(() => {
    if (!row || row.isConnected || list.indexOf(row.dataset.id) >= 0) return;
    const next = list.items[Math.min(place, list.items.length - 1)];
    if (next) focusRow(box.current, idOf(next));
  });
}

function focusRow(box, id) {
  const row = box?.querySelector(`[data-id="${CSS.escape(id)}"]`);
  row?.focus({ preventScroll: true });
  // What stands at the head of the box takes some of its height, and on a low screen the box may be out of sight.
  row?.scrollIntoView({ block: 'nearest' });
  return Boolean(row);
}

function showRow(box, index, height) {
  const top = index * height;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
}
