// Proposals that have just come in: at most five at a time, gone after an hour, answered or put away on the spot.

import { effect } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { useItem } from '../focus.js';
import { hasMoved } from '../format.js';
import { t } from '../i18n.js';
import { idOfProposal, List } from '../list.js';
import { isRead, markRead } from '../read.js';
import { go, minute, open } from '../store.js';
import { watch } from '../sync.js';
import { dismiss, toasts } from '../toasts.js';
import { Ago, Button, Dialog, html, Icon, Logo, Text } from '../ui.js';
import { Answer, Marks, When, With } from './proposal-parts.js';

const MOST = 5;
/** More are not counted: a flood is a number, not a list. */
const MOST_LOOKED_AT = 100;
const HOUR_MS = 3_600_000;

/** The list of proposals that wait for an answer. It lives as long as the page. */
export function useIncoming() {
  const list = useMemo(() => new List({
    kind: 'proposal',
    path: '/api/proposals',
    query: new URLSearchParams({ status: 'pending', sort: '-updatedAt', limit: '50' }),
    wanted: (proposal) => proposal.status === 'pending',
    idOf: idOfProposal,
  }), []);
  useEffect(() => watch(list), []);
  // As far as they can be shown, or counted; not within the list's own change.
  useEffect(() => effect(() => {
    list.version.value;
    minute.value;
    queueMicrotask(() => {
      const goesOn = list.hasMore && list.items.length < MOST_LOOKED_AT && !(Date.parse(list.items.at(-1)?.updatedAt) < Date.now() - HOUR_MS);
      if (goesOn) list.more().catch(() => {});
    });
  }), []);
  return list;
}

/** Those that came within the hour and were not put away: `{shown, waiting}`, the newest first. */
export function recent(list) {
  list.version.value;
  const since = Math.max(minute.value, Date.now()) - HOUR_MS;
  const found = list.items.slice(0, MOST_LOOKED_AT).filter((one) => Date.parse(newsTime(one)) > since && !isRead(readKey(one)));
  found.sort((a, b) => Date.parse(newsTime(b)) - Date.parse(newsTime(a)));
  return { shown: found.slice(0, MOST), waiting: Math.max(0, found.length - MOST) };
}

/** When it came, or moved here: Calendly's own time may be long ago. */
function newsTime(proposal) {
  return hasMoved(proposal) ? proposal.updatedAt : proposal.createdAt;
}

/** A proposal that moves to another time is news again. */
function readKey({ appointmentId, startTime }) {
  return `${appointmentId} ${startTime}`;
}

export function Incoming({ incoming }) {
  const { shown, waiting } = recent(incoming);
  return html`<section class="incoming" aria-labelledby="incoming-title" data-items>
    <header class="section-head"><h2 id="incoming-title" tabIndex="-1">${t('incoming.title')}</h2>
      ${waiting > 0 && html`<span class="muted">${t('incoming.more', { n: waiting })}</span>`}</header>
    ${shown.length === 0 && html`<div class="quiet-box"><${Icon} name="check" /><p>${t('incoming.none')}</p></div>`}
    <ul class="cards" data-testid="proposals">
      ${shown.map((proposal) => html`<${Card} key=${proposal.appointmentId} proposal=${proposal} fresh=${incoming.fresh.has(proposal.appointmentId)} />`)}
    </ul>
  </section>`;
}

function Card({ proposal, fresh }) {
  const item = useItem();
  const away = () => markRead(readKey(proposal));
  const view = () => {
    open.value = '';
    go('prospects', proposal.prospectId);
  };
  return html`<li class=${`card ${fresh ? 'fresh' : ''}`} ref=${item} tabIndex="-1" data-testid="proposal" data-id=${proposal.appointmentId} data-status=${proposal.status}>
    <div class="card-head"><${Marks} proposal=${proposal} /><span class="muted"><${Ago} time=${newsTime(proposal)} /></span>
      <${Button} icon="close" iconOnly kind="quiet small" label=${t('dismiss')} data-action="dismiss" onClick=${away} /></div>
    <h3><${Text}>${proposal.title || t('meeting')}<//></h3>
    <p class="with"><${With} proposal=${proposal} /></p>
    <${When} proposal=${proposal} />
    <${Answer} proposal=${proposal} more=${html`<${Button} kind="quiet" label=${t('view')} data-action="view" onClick=${view} />`} />
  </li>`;
}

/** The same where there is no room beside the view. */
export function IncomingSheet({ incoming, onClose }) {
  return html`<${Dialog} label=${t('incoming.title')} onClose=${onClose} kind="sheet"><${Incoming} incoming=${incoming} /><//>`;
}

export function Toasts() {
  const away = (id) => {
    dismiss(id);
    document.getElementById('content')?.focus();
  };
  return html`<div class="toasts" data-testid="toast" role="region" aria-label=${t('toasts')}>
    ${toasts.value.map((one) => html`<div key=${one.id} class="toast" data-toast=${one.id}>
      <${Logo} size=${24} />
      <p><strong>${one.href ? html`<a href=${one.href}>${one.title}</a>` : one.title}</strong>
        <span>${one.texts.map((text, i) => html`${i > 0 && ' · '}<${Text}>${text}<//>`)}</span></p>
      <${Button} icon="close" iconOnly kind="quiet small" label=${t('dismiss')} onClick=${() => away(one.id)} />
    </div>`)}</div>`;
}
