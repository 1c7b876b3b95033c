// The prospects: a live table with search, filters and order.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { PROSPECT_STATUSES, prospectQuery, prospectTest } from '../filter.js';
import { usePartOf } from '../focus.js';
import { fullName, hue, initials } from '../format.js';
import { explain, t, word } from '../i18n.js';
import { bind } from '../keys.js';
import { List, idOfProspect } from '../list.js';
import { userName, users } from '../people.js';
import { isRead } from '../read.js';
import { read } from '../session.js';
import { counts, go, isAdmin, prospectFilter } from '../store.js';
import { load, watch } from '../sync.js';
import { Table } from '../table.js';
import { Ago, Button, html, Icon, isSample, Pill, SampleTag, Select, Text } from '../ui.js';
import { SampleBar } from './first-run.js';

const SOURCES = ['calendly', 'manual', 'import'];
const SORTS = ['-createdAt', 'createdAt', '-updatedAt', 'name'];
const TYPING_MS = 180;

/** The list of the prospects view. It lives as long as the page, so that one returns to where one was. */
export function useProspects() {
  const filter = prospectFilter.value;
  const list = useMemo(() => new List({ kind: 'prospect', path: '/api/prospects', query: queryOf(filter), wanted: prospectTest(filter), idOf: idOfProspect }), []);
  useEffect(() => watch(list), []);
  const asked = useRef(filter);
  useEffect(() => {
    if (asked.current === filter) return;
    asked.current = filter;
    list.ask(queryOf(filter), prospectTest(filter));
    load(list);
  }, [filter]);
  return list;
}

function queryOf(filter) {
  const query = prospectQuery(filter);
  query.set('limit', '100');
  return query;
}

export function Prospects({ list, selected }) {
  useEffect(() => bind('n', () => go('prospects', 'new')), []);
  return html`<section class="prospects-view" aria-labelledby="prospects-heading">
    <header class="view-head">
      <h1 id="prospects-heading">${t('nav.prospects')}</h1>
      <${Total} list=${list} />
      <${Button} icon="plus" kind="primary" label=${t('prospect.new')} onClick=${() => go('prospects', 'new')} />
    </header>
    <${Filters} />
    <${SampleBar} list=${list} />
    <${Body} list=${list} selected=${selected} />
  </section>`;
}

/** How many there are: counted by the server again whenever something changed. */
function Total({ list }) {
  const filter = prospectFilter.value;
  const [total, setTotal] = useState(null);
  const all = counts.value?.total;
  const filtered = isFiltered(filter);
  const timer = useRef(0);
  useEffect(() => {
    setTotal(null);
    return () => {
      clearTimeout(timer.current);
      timer.current = 0;
    };
  }, [filter]);
  useEffect(() => {
    if (!filtered) return;
    // Not put off by what follows: while bookings pour in, it goes on too.
    timer.current ||= setTimeout(() => {
      timer.current = 0;
      const query = prospectQuery(filter);
      query.set('limit', '1');
      read(`/api/prospects?${query}`).then(({ body }) => prospectFilter.peek() === filter && setTotal(body.total), () => {});
    }, 400);
  }, [filter, counts.value]);
  const shown = filtered ? total ?? list.total.value : all;
  if (shown === undefined) return null;
  return html`<p class="muted total" data-testid="total">${filtered ? t('found', { n: shown }) : t('in_all', { n: shown })}</p>`;
}

function isFiltered({ search, status, source, ownerId }) {
  return Boolean(search.trim() || status || source || ownerId);
}

function Filters() {
  const choices = usePartOf('main');
  const filter = prospectFilter.value;
  const set = (part) => { prospectFilter.value = { ...prospectFilter.value, ...part }; };
  const any = (key, values, kind) => [['', t(key)], ...values.map((value) => [value, word(kind, value)])];
  const owners = [['', t('filter.owner')], ['none', t('unassigned')], ...users.value.map(({ id, name, email }) => [id, name || email])];
  return html`<div class="filters" role="search">
    <${Search} value=${filter.search} onChange=${(search) => set({ search })} />
    <div class="choices" ref=${choices}>
    <${Select} label=${t('filter.status')} hideLabel value=${filter.status} options=${any('filter.status', PROSPECT_STATUSES, 'status')} onChange=${(status) => set({ status })} data-testid="filter-status" />
    <${Select} label=${t('filter.source')} hideLabel value=${filter.source} options=${any('filter.source', SOURCES, 'source')} onChange=${(source) => set({ source })} />
    ${isAdmin.value && html`<${Select} label=${t('filter.owner')} hideLabel value=${filter.ownerId} options=${owners} onChange=${(ownerId) => set({ ownerId })} data-testid="filter-owner" />`}
    <${Select} label=${t('sort')} hideLabel value=${filter.sort} options=${SORTS.map((sort) => [sort, t(`sort.${sort}`)])} onChange=${(sort) => set({ sort })} data-testid="sort" />
    ${isFiltered(filter) && html`<${Button} kind="quiet" icon="close" label=${t('filter.clear')} onClick=${() => set({ search: '', status: '', source: '', ownerId: '' })} />`}
    </div></div>`;
}

function Search({ value, onChange }) {
  const input = useRef(null);
  const timer = useRef(0);
  useEffect(() => bind('/', () => input.current.focus()), []);
  useEffect(() => { if (value === '') input.current.value = ''; }, [value]);
  const type = () => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onChange(input.current?.value ?? ''), TYPING_MS);
  };
  const leave = (event) => {
    if (event.key !== 'Escape') return;
    event.preventDefault();
    if (input.current.value === '') input.current.blur();
    input.current.value = '';
    type();
  };
  return html`<label class="search"><span class="sr">${t('search')}</span><${Icon} name="search" />
    <input ref=${input} type="search" maxLength="200" placeholder=${t('search.placeholder')} defaultValue=${value} onInput=${type} onKeyDown=${leave}
      autocomplete="off" spellcheck=${false} data-testid="search" /><kbd aria-hidden="true">/</kbd></label>`;
}

function Body({ list, selected }) {
  const columns = useMemo(() => ['name', 'contact', 'status', 'origin', ...(isAdmin.value ? ['owner'] : []), 'created'], [isAdmin.value]);
  const onOpen = (id, { walking = false } = {}) => go('prospects', id, { replace: walking });
  list.version.value;
  if (list.state.value === 'failed' && list.items.length === 0) return html`<p class="empty-list" role="alert">${explain(list.error)}</p>`;
  if (list.state.value === 'ready' && list.items.length === 0) {
    return html`<div class="empty-list" data-testid="prospects"><p>${t(isFiltered(prospectFilter.value) ? 'nothing_found' : 'nobody_yet')}</p></div>`;
  }
  return html`<${Table} list=${list} label=${t('nav.prospects')} testid="prospects" rowTestid="prospect" idOf=${idOfProspect}
    heights=${[60, 76]} selected=${selected} onOpen=${onOpen} columns=${columns} row=${Row} kind=${isAdmin.value ? 'with-owner' : ''} look=${lookOf} />`;
}

const lookOf = ({ id, status }) => (status === 'new' && !isRead(id) ? 'unread' : '');

function Row({ record: prospect, columns }) {
  const name = fullName(prospect);
  return html`
    <span role="gridcell" class="cell name"><span class="avatar" data-hue=${hue(prospect.id)} aria-hidden="true">${initials(prospect)}</span>
      <span class="two"><span class="first"><${Text}>${name}<//>${isSample(prospect) && html` <${SampleTag} />`}</span>
      <${Second} text=${prospect.company} /></span></span>
    <span role="gridcell" class="cell contact"><span class="two"><span class="first"><${Text}>${prospect.email}<//></span><${Second} text=${prospect.phone} /></span></span>
    <span role="gridcell" class="cell status"><${Pill} value=${prospect.status} /></span>
    <span role="gridcell" class="cell origin"><span class="two"><span class="first">${word('source', prospect.source)}</span><${Second} text=${prospect.tracking?.utmSource} /></span></span>
    ${columns.includes('owner') && html`<span role="gridcell" class="cell owner">${prospect.ownerId ? html`<${Text}>${userName(prospect.ownerId)}<//>` : html`<span class="tag">${t('unassigned')}</span>`}</span>`}
    <span role="gridcell" class="cell created"><${Ago} time=${prospectFilter.value.sort === '-updatedAt' ? prospect.updatedAt : prospect.createdAt} /></span>`;
}

const Second = ({ text }) => (text ? html`<span class="second"><${Text}>${text}<//></span>` : null);
