// What Calendly sent and what became of it: a live tail for admins.

import { useEffect, useMemo, useState } from 'preact/hooks';
import { toTheMillisecond } from '../format.js';
import { t, word } from '../i18n.js';
import { List } from '../list.js';
import { read } from '../session.js';
import { go } from '../store.js';
import { onEvents, watch } from '../sync.js';
import { Table } from '../table.js';
import { html, Pill, Select, Switch } from '../ui.js';
import { DeliveryPanel } from './delivery-panel.js';

const STATUSES = ['processed', 'ignored', 'quarantined', 'rejected'];
const EVENTS = ['invitee.created', 'invitee.canceled', 'invitee_no_show.created', 'invitee_no_show.deleted', 'routing_form_submission.created'];
const COLUMNS = ['received', 'event', 'verdict', 'reason', 'took'];
const POLL_MS = 3_000;
const SOON_MS = 300;
const idOf = (delivery) => delivery.id;

export function Deliveries({ selected }) {
  const [status, setStatus] = useState('');
  const [event, setEvent] = useState('');
  const [following, setFollowing] = useState(true);
  const [list, asked] = useDeliveries(status, event, following);
  const onOpen = (id, { walking = false } = {}) => go('deliveries', id, { replace: walking });
  const changed = (delivery) => {
    list.put(delivery);
    list.flush();
    list.refresh().catch(() => {});
  };
  return html`<section class="deliveries" aria-labelledby="deliveries-heading">
    <header class="view-head"><h1 id="deliveries-heading">${t('nav.deliveries')}</h1><${Counts} asked=${asked} version=${list.version.value} /></header>
    <div class="filters"><div class="choices">
      <${Select} label=${t('filter.verdict')} hideLabel value=${status} onChange=${setStatus} data-testid="filter-verdict" options=${[['', t('filter.verdict')], ...STATUSES.map((one) => [one, word('status', one)])]} />
      <${Select} label=${t('filter.event')} hideLabel value=${event} onChange=${setEvent} options=${[['', t('filter.event')], ...EVENTS.map((one) => [one, one])]} /></div>
      <${Switch} label=${t('follow')} checked=${following} onChange=${setFollowing} /></div>
    ${list.state.value === 'ready' && list.items.length === 0
      ? html`<p class="empty-list">${t('deliveries.none')}</p>`
      : html`<${Table} key=${`${status} ${event}`} list=${list} label=${t('nav.deliveries')} testid="deliveries" rowTestid="delivery" idOf=${idOf} heights=${[44, 64]}
          selected=${selected} onOpen=${onOpen} columns=${COLUMNS} row=${Row} />`}
    ${selected && html`<${DeliveryPanel} key=${selected} id=${selected} onChanged=${changed} />`}
  </section>`;
}

/**
 * Most deliveries have no event of their own in the log (a duplicate changes nothing), so the tail asks: soon
 * after any event, and every few seconds while somebody looks.
 */
function useDeliveries(status, event, following) {
  const list = useMemo(() => {
    const query = new URLSearchParams({ limit: '100' });
    if (status) query.set('status', status);
    if (event) query.set('event', event);
    const wanted = (delivery) => (!status || delivery.status === status) && (!event || delivery.event === event);
    return new List({ kind: 'delivery', path: '/api/deliveries', query, wanted });
  }, [status, event]);
  const [asked, setAsked] = useState(0);
  useEffect(() => watch(list), [list]);
  useEffect(() => {
    if (!following) return undefined;
    let poll = 0;
    let soon = 0;
    const ask = () => {
      clearTimeout(poll);
      clearTimeout(soon);
      soon = 0;
      poll = setTimeout(ask, POLL_MS);
      if (document.hidden || list.state.value === 'loading') return;
      setAsked((times) => times + 1);
      list.refresh().catch(() => {});
    };
    poll = setTimeout(ask, POLL_MS);
    // Not put off by what follows: while bookings pour in, the tail must go on too.
    const stop = onEvents(() => { soon ||= setTimeout(ask, SOON_MS); });
    return () => {
      clearTimeout(poll);
      clearTimeout(soon);
      stop();
    };
  }, [list, following]);
  list.version.value;
  return [list, asked];
}

/** Of all verdicts, also those that the list does not show: as often as that is asked for. */
function Counts({ asked, version }) {
  const [counts, setCounts] = useState(null);
  useEffect(() => {
    let wanted = true;
    read('/api/deliveries/counts').then(({ body }) => wanted && setCounts(body.byStatus), () => {});
    return () => { wanted = false; };
  }, [asked, version]);
  if (!counts) return null;
  return html`<p class="muted total">${STATUSES.filter((one) => counts[one]).map((one) => t(`deliveries.${one}`, { n: counts[one] })).join(' · ')}</p>`;
}

function Row({ record: delivery }) {
  const { timings } = delivery;
  return html`<span role="gridcell" class="cell received"><time dateTime=${delivery.receivedAt}>${toTheMillisecond(delivery.receivedAt)}</time></span>
    <span role="gridcell" class="cell event"><code dir="auto">${delivery.event ?? '–'}</code></span>
    <span role="gridcell" class="cell verdict"><${Pill} value=${delivery.status} /></span>
    <span role="gridcell" class="cell reason">${delivery.reason ? word('reason', delivery.reason) : ''}</span>
    <span role="gridcell" class="cell took">${timings ? micros(timings.foldedUs) : ''}</span>`;
}

export function micros(us) {
  return us < 1_000 ? `${us} µs` : `${(us / 1_000).toFixed(us < 10_000 ? 1 : 0)} ms`;
}
