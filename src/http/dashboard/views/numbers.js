// Numbers worth a look: bookings a day, where they come from, how many fall through, how fast all this is.

import { useEffect, useRef, useState } from 'preact/hooks';
import { Bars, Ranking } from '../charts.js';
import { duration, percent, VIEWER_ZONE, wholeNumber, zoneName } from '../format.js';
import { explain, t } from '../i18n.js';
import { read } from '../session.js';
import { generation, onEvents } from '../sync.js';
import { html, Select } from '../ui.js';

const SETTLE_MS = 1_500;

export function Numbers() {
  const [days, setDays] = useState('30');
  const { numbers, error } = useNumbers(days);
  return html`<section class="numbers" aria-labelledby="numbers-heading">
    <header class="view-head"><h1 id="numbers-heading">${t('nav.numbers')}</h1><p class="muted total">${t('days_in', { zone: zoneName(VIEWER_ZONE) })}</p>
      <${Select} label=${t('numbers.days')} hideLabel value=${days} onChange=${setDays} options=${['7', '30', '90'].map((n) => [n, t('numbers.last', { n: Number(n) })])} /></header>
    ${error && html`<p class="empty-list" role="alert">${error.status === 404 ? t('numbers.none') : explain(error)}</p>`}
    ${numbers && html`<${Tiles} numbers=${numbers} /><div class="charts">
      <figure class="chart-box wide"><figcaption><h2>${t('numbers.bookings')}</h2></figcaption><${Bars} days=${numbers.bookings} /></figure>
      <figure class="chart-box"><figcaption><h2>${t('numbers.source')}</h2></figcaption><${Ranking} rows=${numbers.bySource.map(({ source, bookings }) => [source ?? t('numbers.direct'), bookings])} /></figure>
      <figure class="chart-box"><figcaption><h2>${t('numbers.type')}</h2></figcaption><${Ranking} rows=${numbers.byEventType.map(({ title, bookings }) => [title ?? t('meeting'), bookings])} /></figure></div>`}
  </section>`;
}

/** Counted by the server, and again a moment after something has happened to a booking. */
function useNumbers(days) {
  const [state, setState] = useState({ numbers: null, error: null });
  const timer = useRef(0);
  useEffect(() => {
    let wanted = true;
    const query = new URLSearchParams({ days, timezone: VIEWER_ZONE });
    const load = () => read(`/api/statistics?${query}`).then(
      ({ body }) => wanted && setState({ numbers: body, error: null }),
      (error) => wanted && setState((old) => ({ ...old, error: old.numbers ? null : error })));
    load();
    const soon = onEvents((events) => {
      if (!events.some(({ name }) => name.startsWith('proposal'))) return;
      // Not put off by what follows: while bookings pour in, the numbers must go on too.
      timer.current ||= setTimeout(() => { timer.current = 0; load(); }, SETTLE_MS);
    });
    return () => {
      wanted = false;
      clearTimeout(timer.current);
      timer.current = 0;
      soon();
    };
  }, [days, generation.value]);
  return state;
}

function Tiles({ numbers: { rates, screen } }) {
  return html`<div class="tiles">
    <${Tile} name="bookings" value=${wholeNumber(rates.bookings)} />
    <${Tile} name="canceled" value=${percent(rates.cancellationRate)} detail=${t('numbers.of', { n: rates.canceled, all: rates.bookings })} />
    <${Tile} name="noShow" value=${percent(rates.noShowRate)} detail=${t('numbers.of', { n: rates.noShow, all: rates.bookings })} />
    <${Tile} name="screen" value=${screen ? duration(screen.p50Ms) : '–'} detail=${screen ? t('numbers.p95', { p95: duration(screen.p95Ms), n: screen.samples }) : t('numbers.no_screen')} />
  </div>`;
}

function Tile({ name, value, detail }) {
  return html`<div class="tile" data-testid=${`tile-${name}`}><p class="tile-name">${t(`numbers.${name}`)}</p><p class="tile-value">${value}</p><p class="muted">${detail ?? ''}</p></div>`;
}
