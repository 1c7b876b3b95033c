// One prospect: everything known, its bookings with their history, and what one can do about it.

import { useEffect, useMemo, useState } from 'preact/hooks';
import { isRefusal } from '../api.js';
import { didMyself } from '../arrivals.js';
import { PROSPECT_STATUSES } from '../filter.js';
import { usePanel } from '../focus.js';
import { exactly, fullName, hue, initials, mailto, slot, tel, VIEWER_ZONE, zoneName } from '../format.js';
import { explain, t, word } from '../i18n.js';
import { bind } from '../keys.js';
import { idOfProposal, List } from '../list.js';
import { remember, userName } from '../people.js';
import { markRead } from '../read.js';
import { read, write } from '../session.js';
import { go, isAdmin } from '../store.js';
import { generation, onEvents, show, untilItWorks, watch } from '../sync.js';
import { toast } from '../toasts.js';
import { Ago, Button, Dialog, html, isSample, Place, SampleTag, Select, Text } from '../ui.js';
import { Answer, Marks, When, Where, Why } from './proposal-parts.js';
import { ProspectForm } from './prospect-form.js';

/** `id` is a prospect's, or `new` for the form of a new one. `view` is where closing leads. */
export function ProspectPanel({ id, view }) {
  const close = () => go(view);
  const box = usePanel(id);
  useEffect(() => bind('Escape', close), [view]);
  return html`<aside class="panel" ref=${box} tabIndex="-1" data-testid="panel" aria-label=${t('panel')}>
    ${id === 'new'
      ? html`<${NewProspect} onClose=${close} />`
      : html`<${Known} key=${id} id=${id} view=${view} onClose=${close} />`}
  </aside>`;
}

function Head({ children, onClose }) {
  return html`<header class="panel-head"><div>${children}</div>
    <${Button} icon="close" iconOnly kind="quiet" label=${t('close')} data-action="close" onClick=${onClose} /></header>`;
}

function NewProspect({ onClose }) {
  const save = async (fields) => {
    const { body } = await write('POST', '/api/prospects', fields);
    didMyself(body.id);
    show('prospect', body);
    go('prospects', body.id);
  };
  return html`<${Head} onClose=${onClose}><h2>${t('prospect.new')}</h2><//>
    <${ProspectForm} record=${null} onSave=${save} onCancel=${onClose} />`;
}

/** The record as it is now, with the ETag of the version that was read: `If-Match` needs it. */
function useProspect(id) {
  const [state, setState] = useState({ record: null, etag: null, error: null, gone: false });
  const take = (record, etag) => setState((old) => (
    old.record?.updatedAt > record.updatedAt ? old : { record, etag: etag ?? (old.record?.updatedAt === record.updatedAt ? old.etag : null), error: null, gone: false }));
  const reload = async () => {
    const { body, etag } = await read(`/api/prospects/${encodeURIComponent(id)}`);
    remember(body);
    // What has been heard meanwhile may be newer than this answer.
    setState((old) => (old.gone || old.record?.updatedAt > body.updatedAt ? old : { record: body, etag, error: null, gone: false }));
    return { record: body, etag };
  };
  useEffect(() => {
    let wanted = true;
    // What was heard before a gap may no longer be so.
    setState((old) => ({ ...old, gone: false }));
    untilItWorks(() => reload().catch((error) => {
      setState((old) => ({ ...old, error, gone: old.gone || error.status === 404 }));
      if (!isRefusal(error)) throw error;
    }), () => wanted);
    const stop = onEvents((events) => events.forEach(({ name, payload }) => {
      if (payload.id !== id) return;
      if (name === 'prospect:deleted') setState((old) => ({ ...old, gone: true }));
      else if (name.startsWith('prospect:')) take(payload, null);
    }));
    return () => {
      wanted = false;
      stop();
    };
  }, [id, generation.value]);
  return { ...state, take, reload };
}

function Known({ id, view, onClose }) {
  const { record, etag, error, gone, take, reload } = useProspect(id);
  const [editing, setEditing] = useState(null);
  const [deleting, setDeleting] = useState(false);
  useEffect(() => { if (record) markRead(id); }, [id, Boolean(record)]);
  const edit = async () => setEditing(etag ? { record, etag } : await reload());
  useEffect(() => bind('e', () => { edit().catch(() => {}); }), [id, etag, record]);
  if (gone) return html`<${Head} onClose=${onClose}><h2>${t('prospect.gone')}</h2><//><p class="panel-body muted">${t('prospect.gone.long')}</p>`;
  if (!record) return html`<${Head} onClose=${onClose}><h2>${error ? t('prospect.failed') : '…'}</h2><//><p class="panel-body error">${error && explain(error)}</p>`;

  const path = `/api/prospects/${encodeURIComponent(id)}`;
  const change = async (fields, ifMatch) => {
    const answer = await write('PATCH', path, fields, { ifMatch });
    take(answer.body, answer.etag);
    show('prospect', answer.body);
    return answer;
  };
  if (editing) {
    const save = async (fields, ifMatch) => {
      await change(fields, ifMatch);
      setEditing(null);
    };
    return html`<${Head} onClose=${onClose}><h2><${Text}>${fullName(record)}<//></h2><//>
      <${ProspectForm} record=${editing.record} etag=${editing.etag} current=${record} readAgain=${reload} onSave=${save} onCancel=${() => setEditing(null)} />`;
  }
  return html`<${Head} onClose=${onClose}>
      <span class="avatar large" data-hue=${hue(id)} aria-hidden="true">${initials(record)}</span>
      <div><h2 data-testid="panel-name"><${Text}>${fullName(record)}<//> ${isSample(record) && html`<${SampleTag} />`}</h2>
      <p class="muted"><${Text}>${record.company ?? ''}<//></p></div><//>
    <div class="panel-body">
      <${Tools} record=${record} etag=${etag} reload=${reload} change=${change} onEdit=${edit} onDelete=${() => setDeleting(true)} />
      <${Facts} record=${record} />
      <${Bookings} prospectId=${id} />
    </div>
    ${deleting && html`<${Delete} record=${record} etag=${etag} reload=${reload} path=${path} onClose=${() => setDeleting(false)} onDone=${onClose} />`}`;
}

function Tools({ record, etag, reload, change, onEdit, onDelete }) {
  const [error, setError] = useState(null);
  const setStatus = async (status) => {
    setError(null);
    try {
      const tag = etag ?? (await reload()).etag;
      await change({ status }, tag);
    } catch (problem) {
      setError(problem);
      if (problem.status === 412) reload().catch(() => {});
    }
  };
  return html`<div class="tools">
    <${Select} label=${t('field.status')} hideLabel value=${record.status} options=${PROSPECT_STATUSES.map((status) => [status, word('status', status)])} onChange=${setStatus} data-testid="status" />
    <${Button} label=${t('edit')} onClick=${onEdit} data-action="edit" />
    <${Button} label=${t('delete')} kind="quiet danger" onClick=${onDelete} data-action="delete" />
    <p class="error" role="alert">${error && explain(error)}</p></div>`;
}

function Facts({ record }) {
  const { email, phone, timezone, tracking } = record;
  const rows = [
    ['email', html`<a href=${mailto(email)} dir="auto">${email}</a>`],
    ['phone', phone && html`<a href=${tel(phone)} dir="auto">${phone}</a>`],
    ['timezone', timezone && html`<${Text}>${zoneName(timezone)}<//>`],
    ['source', word('source', record.source)],
    ['owner', isAdmin.value && (record.ownerId ? html`<${Text}>${userName(record.ownerId)}<//>` : t('unassigned'))],
    ['created', html`<span>${exactly(record.createdAt)}</span>`],
    ['lastBooking', record.lastBookingAt && html`<span>${exactly(record.lastBookingAt)}</span>`],
  ];
  return html`<dl class="facts">${rows.filter(([, value]) => value).map(([key, value]) => html`<div key=${key}><dt>${t(`field.${key}`)}</dt><dd>${value}</dd></div>`)}</dl>
    ${record.notes && html`<section class="block"><h3>${t('field.notes')}</h3><p class="notes" dir="auto">${record.notes}</p></section>`}
    <${Tracking} tracking=${tracking} />`;
}

export function Tracking({ tracking }) {
  const known = Object.entries(tracking ?? {}).filter(([, value]) => value);
  if (known.length === 0) return null;
  return html`<section class="block"><h3>${t('field.tracking')}</h3><dl class="facts">
    ${known.map(([key, value]) => html`<div key=${key}><dt>${t(`tracking.${key}`)}</dt><dd><${Text}>${value}<//></dd></div>`)}</dl></section>`;
}

function Bookings({ prospectId }) {
  const list = useMemo(() => new List({
    kind: 'proposal',
    path: '/api/proposals',
    query: new URLSearchParams({ prospectId, sort: '-startTime', limit: '50' }),
    wanted: (proposal) => proposal.prospectId === prospectId,
    idOf: idOfProposal,
  }), [prospectId]);
  useEffect(() => watch(list), [list]);
  list.version.value;
  return html`<section class="block" aria-labelledby="bookings-title"><h3 id="bookings-title">${t('bookings')}</h3>
    ${list.state.value === 'ready' && list.items.length === 0 && html`<p class="muted">${t('bookings.none')}</p>`}
    <ul class="cards flat">${list.items.map((proposal) => html`<${Booking} key=${proposal.appointmentId} proposal=${proposal} />`)}</ul>
    ${list.hasMore && html`<${Button} label=${t('more')} onClick=${() => list.more()} />`}</section>`;
}

function Booking({ proposal }) {
  const { answers, guests, hosts, cancelUrl, rescheduleUrl } = proposal;
  const rest = ['pending', 'accepted'].includes(proposal.status);
  return html`<li class="card" tabIndex="-1" data-testid="booking" data-status=${proposal.status}>
    <div class="card-head"><h4><${Text}>${proposal.title || t('meeting')}<//></h4><${Marks} proposal=${proposal} /></div>
    <${When} proposal=${proposal} /><${Where} location=${proposal.location} /><${Why} proposal=${proposal} />
    ${hosts.length > 0 && html`<p class="muted">${t('hosts')} ${hosts.map((host, i) => html`${i > 0 && ', '}<${Text}>${host.name || host.email || '?'}<//>`)}</p>`}
    ${guests.length > 0 && html`<p class="muted">${t('guests')} ${guests.map((guest, i) => html`${i > 0 && ', '}<${Text}>${guest}<//>`)}</p>`}
    ${answers.length > 0 && html`<dl class="answers">${answers.map(({ question, answer }, i) => html`<div key=${i}><dt dir="auto">${question}</dt><dd dir="auto"><${Place} value=${answer} /></dd></div>`)}</dl>`}
    <${Answer} proposal=${proposal} />
    ${rest && (cancelUrl || rescheduleUrl) && html`<p class="muted links">${rescheduleUrl && html`<${Outside} url=${rescheduleUrl} text=${t('reschedule')} />`} ${cancelUrl && html`<${Outside} url=${cancelUrl} text=${t('cancel_at_calendly')} />`}</p>`}
    <details><summary>${t('history')}</summary><${Tracking} tracking=${proposal.tracking} /><ol class="history">${proposal.history.map((entry, i) => html`<${Entry} key=${i} entry=${entry} />`)}</ol></details></li>`;
}

function Outside({ url, text }) {
  return /^https?:/i.test(url) && html`<a href=${url} target="_blank" rel="noopener noreferrer">${text}</a>`;
}

function Entry({ entry }) {
  const to = entry.to && slot(entry.to.startTime, entry.to.endTime, VIEWER_ZONE);
  const by = entry.name || (entry.userId && userName(entry.userId)) || (entry.by && word('by', entry.by));
  return html`<li><strong>${word('what', entry.what)}</strong>${to && html` ${t('to')} ${to.day}, ${to.hours}`}${by && html` · <${Text}>${by}<//>`}
    ${entry.reason && html`<q dir="auto">${entry.reason}</q>`} <span class="muted"><${Ago} time=${entry.at} /></span></li>`;
}

function Delete({ record, etag, reload, path, onClose, onDone }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const remove = async () => {
    setBusy(true);
    try {
      await write('DELETE', path, undefined, { ifMatch: etag ?? (await reload()).etag });
      onClose();
      onDone();
      toast(t('prospect.deleted'), [fullName(record)]);
    } catch (problem) {
      setError(problem);
      setBusy(false);
      if (problem.status === 412) reload().catch(() => {});
    }
  };
  return html`<${Dialog} label=${t('delete.title')} onClose=${onClose} kind="small">
    <p>${t('delete.long')} <strong><${Text}>${fullName(record)}<//></strong></p>
    <p class="error" role="alert">${error && explain(error)}</p>
    <div class="actions"><${Button} label=${t('delete')} kind="danger" busy=${busy} onClick=${remove} data-action="delete-now" /><${Button} label=${t('cancel')} kind="quiet" onClick=${onClose} /></div><//>`;
}
