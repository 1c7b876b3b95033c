// The agenda: proposals by day, in the reader's time with the invitee's beside it.

import { useEffect, useMemo, useState } from 'preact/hooks';
import { useItem } from '../focus.js';
import { dayKey, dayName, slot, VIEWER_ZONE, zoneName } from '../format.js';
import { t, word } from '../i18n.js';
import { idOfProposal, List } from '../list.js';
import { go, href, minute } from '../store.js';
import { watch } from '../sync.js';
import { html, Select, Sentinel, Text } from '../ui.js';
import { Answer, Marks, Theirs, Where, Why, With } from './proposal-parts.js';

const STATUSES = ['pending', 'accepted', 'rejected', 'canceled', 'no_show'];

export function Agenda() {
  const [past, setPast] = useState(false);
  const [status, setStatus] = useState('');
  const list = useAgenda(past, status);
  const days = byDay(list.items);
  return html`<section class="agenda" aria-labelledby="agenda-heading" data-items>
    <header class="view-head"><h1 id="agenda-heading" tabIndex="-1">${t('nav.agenda')}</h1><p class="muted total">${t('times_in', { zone: zoneName(VIEWER_ZONE) })}</p></header>
    <div class="filters">
      <div class="tabs" role="group" aria-label=${t('agenda.which')}>
        ${[false, true].map((value) => html`<button key=${value} type="button" class="tab" aria-pressed=${String(past === value)} onClick=${() => setPast(value)}>${t(value ? 'agenda.past' : 'agenda.upcoming')}</button>`)}
      </div>
      <${Select} label=${t('filter.status')} hideLabel value=${status} onChange=${setStatus} options=${[['', t('filter.status')], ...STATUSES.map((one) => [one, word('status', one)])]} />
    </div>
    <div class="agenda-list" data-testid="agenda">
      ${list.state.value === 'ready' && days.length === 0 && html`<p class="empty-list">${t(past ? 'agenda.none_past' : 'agenda.none')}</p>`}
      ${days.map(([key, proposals]) => html`<section key=${key} class="day" aria-labelledby=${`day-${key}`}>
        <h2 id=${`day-${key}`}>${dayName(proposals[0].startTime)}</h2>
        <ul>${proposals.map((proposal) => html`<${Line} key=${proposal.appointmentId} proposal=${proposal} fresh=${list.fresh.has(proposal.appointmentId)} />`)}</ul>
      </section>`)}
      ${list.hasMore && html`<${Sentinel} seen=${() => list.more().catch(() => {})} />`}
    </div>
  </section>`;
}

/** Upcoming begins with today, so that a meeting one is in does not vanish. What has no time is in neither. */
function useAgenda(past, status) {
  // At midnight it is another list.
  const day = dayKey(minute.value);
  const list = useMemo(() => {
    const now = new Date();
    const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).toISOString();
    const query = new URLSearchParams({ sort: past ? '-startTime' : 'startTime', limit: '100', [past ? 'to' : 'from']: today });
    if (status) query.set('status', status);
    const wanted = ({ startTime, status: has }) => startTime && past === (startTime < today) && (!status || has === status);
    return new List({ kind: 'proposal', path: '/api/proposals', query, wanted, idOf: idOfProposal });
  }, [past, status, day]);
  useEffect(() => watch(list), [list]);
  list.version.value;
  return list;
}

function byDay(proposals) {
  const days = new Map();
  for (const proposal of proposals) {
    const key = dayKey(proposal.startTime);
    days.set(key, [...(days.get(key) ?? []), proposal]);
  }
  return [...days];
}

function Line({ proposal, fresh }) {
  const mine = slot(proposal.startTime, proposal.endTime, VIEWER_ZONE);
  const item = useItem();
  const open = (event) => {
    if (!event.target.closest('a, button, textarea, form')) go('agenda', proposal.prospectId);
  };
  return html`<li class=${`line ${fresh ? 'fresh' : ''}`} ref=${item} tabIndex="-1" data-testid="proposal" data-id=${proposal.appointmentId} data-status=${proposal.status} onClick=${open}>
    <div class="line-time"><time dateTime=${proposal.startTime}>${mine?.hours ?? '–'}</time>${mine && html`<${Theirs} proposal=${proposal} mine=${mine} />`}</div>
    <div class="line-what"><h3><a href=${href('agenda', proposal.prospectId)}><${Text}>${proposal.title || t('meeting')}<//></a></h3>
      <p><${With} proposal=${proposal} /></p><${Where} location=${proposal.location} /><${Why} proposal=${proposal} /></div>
    <${Marks} proposal=${proposal} />
    ${proposal.status === 'pending' ? html`<${Answer} proposal=${proposal} />` : html`<span class="actions"></span>`}
  </li>`;
}
