// Small parts that every view is made of. Whatever is put into a template becomes text, never markup.

import { html } from 'htm/preact';
import { useEffect, useRef } from 'preact/hooks';
import { announcement } from './announce.js';
import { ago, exactly, webAddress } from './format.js';
import { word, t } from './i18n.js';
import { minute } from './store.js';

export { html };

const ICONS = {
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Zm-6.5 8c.4-3.4 3-5.5 6.5-5.5s6.1 2.1 6.5 5.5M16 4.3a3.5 3.5 0 0 1 0 6.4M17.8 13.9c2.2.8 3.5 2.6 3.7 5.1',
  calendar: 'M5 5.5h14a1.5 1.5 0 0 1 1.5 1.5v11.5A1.5 1.5 0 0 1 19 20H5a1.5 1.5 0 0 1-1.5-1.5V7A1.5 1.5 0 0 1 5 5.5ZM3.5 10h17M8 3.5v4M16 3.5v4',
  chart: 'M4 20h16M6.5 16.5v-5M12 16.5V5M17.5 16.5v-8',
  inbox: 'M4 13.5 6.5 5h11L20 13.5V19H4v-5.5Zm0 0h5l1 2.5h4l1-2.5h5',
  bell: 'M6 16.5h12c-1-1.2-1.5-2.2-1.5-5A4.5 4.5 0 0 0 12 7a4.5 4.5 0 0 0-4.5 4.5c0 2.8-.5 3.8-1.5 5ZM12 7V4.5M10.3 19.5a2 2 0 0 0 3.4 0',
  sliders: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 9.3a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6ZM9 19.3a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6Z',
  help: 'M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.7.4-1.1.9-1.1 1.8M12 16.7v.1M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z',
  search: 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM20 20l-4.9-4.9',
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6 6 18',
  up: 'M12 19V5M6 11l6-6 6 6',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  clock: 'M12 7v5l3 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z',
  pin: 'M12 21c4-4.5 6.5-7.7 6.5-11a6.5 6.5 0 0 0-13 0c0 3.3 2.5 6.5 6.5 11ZM12 12.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z',
  out: 'M14 4.5h4.5v15H14M10 8l-4 4 4 4M6 12h9',
  copy: 'M9 9h10v11H9zM15 9V4H5v11h4',
};

/** A drawing that says nothing: the words are beside it, or in the label of what it stands in. */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;
}

export const Logo = ({ size = 28 }) =>
  html`<img src=${new URL('favicon.svg', import.meta.url).pathname} alt="" width=${size} height=${size} />`;

/** A text that somebody typed, kept apart from its neighbours whatever its direction. */
export const Text = ({ children }) => html`<bdi>${children}</bdi>`;

export const Pill = ({ kind = 'status', value }) => html`<span class="pill" data-tone=${value}>${word(kind, value)}</span>`;

export const SampleTag = () => html`<span class="tag sample" title=${t('sample.title')}>${t('sample')}</span>`;
export const isSample = ({ tracking }) => tracking?.utmSource === 'bookbell-sample';

export function Ago({ time }) {
  return time ? html`<time dateTime=${time} title=${exactly(time)}>${ago(time, Math.max(minute.value, Date.now()))}</time>` : null;
}

/** Somewhere on the web, when it is; its host is shown, so that one sees where it leads. Else the text itself. */
export function Place({ value }) {
  const url = webAddress(value);
  if (!url) return html`<${Text}>${value}<//>`;
  return html`<a href=${url.href} target="_blank" rel="noopener noreferrer">${url.host}</a>`;
}

export function Button({ icon, label, kind = '', busy = false, iconOnly = false, onClick, ...rest }) {
  const press = (event) => {
    if (!busy) onClick?.(event);
  };
  return html`<button type="button" class=${`button ${kind} ${iconOnly ? 'icon-only' : ''}`} aria-disabled=${busy ? 'true' : null}
    aria-label=${iconOnly ? label : null} title=${iconOnly ? label : null} onClick=${press} ...${rest}>
    ${icon && html`<${Icon} name=${icon} />`}${!iconOnly && html`<span>${label}</span>`}
  </button>`;
}

/** A labelled choice. `options` is `[[value, text], …]`. */
export function Select({ label, value, options, onChange, hideLabel = false, ...rest }) {
  return html`<label class="select"><span class=${hideLabel ? 'sr' : ''}>${label}</span>
    <select value=${value} onChange=${(event) => onChange(event.currentTarget.value)} ...${rest}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select></label>`;
}

export function Switch({ label, hint, checked, onChange, disabled = false }) {
  return html`<label class="switch"><span>${label}${hint && html`<small>${hint}</small>`}</span>
    <input type="checkbox" role="switch" checked=${checked} disabled=${disabled}
      onChange=${(event) => onChange(event.currentTarget.checked)} /></label>`;
}

/** Says aloud what came. A new element each time: a text that stays the same is not spoken again. */
export function Announcer() {
  const told = announcement.value;
  return html`<p class="sr" role="status" aria-live="polite" data-testid="announcer">${told && html`<span key=${told.id}>${told.text}</span>`}</p>`;
}

/**
 * A modal dialog. The browser keeps the focus in it, closes it by Escape and gives the focus back. What is told
 * meanwhile is told in it: nobody hears the page behind.
 */
export function Dialog({ label, onClose, children, kind = '' }) {
  const box = useRef(null);
  useEffect(() => {
    const back = document.activeElement;
    const dialog = box.current;
    dialog.showModal();
    // Its title first: a screen reader says where one is, and no button is one key away from being pressed.
    dialog.querySelector('h2').focus();
    return () => {
      dialog.close();
      back?.focus?.({ preventScroll: true });
    };
  }, []);
  const outside = (event) => {
    if (event.target === box.current) onClose();
  };
  return html`<dialog ref=${box} class=${`dialog ${kind}`} aria-label=${label} onClick=${outside}
    onCancel=${(event) => { event.preventDefault(); onClose(); }}>
    <div class="dialog-in">
      <div class="dialog-head"><h2 tabIndex="-1">${label}</h2><${Button} icon="close" iconOnly label=${t('close')} kind="quiet" onClick=${onClose} /></div>
      ${children}
    </div><${Announcer} /></dialog>`;
}

/** Copies a text, or selects it where the browser has no clipboard for this page (plain HTTP). */
export function Copy({ text, label, testid }) {
  const source = useRef(null);
  const button = useRef(null);
  const copy = async () => {
    let done = 'copied';
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      getSelection().selectAllChildren(source.current);
      done = 'selected';
    }
    const shown = button.current.querySelector('span');
    shown.textContent = t(done);
    setTimeout(() => { if (shown.isConnected) shown.textContent = t('copy'); }, 2_000);
  };
  return html`<div class="copy" ref=${button}><code ref=${source} data-testid=${testid}>${text}</code>
    <${Button} icon="copy" label=${t('copy')} onClick=${copy} aria-label=${label} /></div>`;
}

/** Runs `seen` when its place comes into view: the next page of a list that is not virtual. */
export function Sentinel({ seen }) {
  const mark = useRef(null);
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => entry.isIntersecting && seen(), { rootMargin: '400px' });
    observer.observe(mark.current);
    return () => observer.disconnect();
  });
  return html`<div ref=${mark} class="sentinel" aria-hidden="true"></div>`;
}

export const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
