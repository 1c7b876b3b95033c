// Parts of a proposal that several views show: its times, its marks, its place, and the answers to it.

import { useState } from 'preact/hooks';
import { focusOnce, usePartOf } from '../focus.js';
import { VIEWER_ZONE, fullName, slot, zoneName } from '../format.js';
import { explain, t } from '../i18n.js';
import { prospectById } from '../people.js';
import { write } from '../session.js';
import { show } from '../sync.js';
import { Button, html, Icon, Pill, Place, Text } from '../ui.js';

/** When it is for the reader, with the invitee's own time beside it. */
export function When({ proposal }) {
  const { startTime, endTime } = proposal;
  const mine = slot(startTime, endTime, VIEWER_ZONE);
  if (!mine) return html`<p class="when"><span class="muted">${t('no_time')}</span></p>`;
  return html`<p class="when"><strong><time dateTime=${startTime}>${mine.day}, ${mine.hours}</time></strong>
    <${Theirs} proposal=${proposal} mine=${mine} /></p>`;
}

/** The invitee's time, or that it is the same. */
export function Theirs({ proposal: { startTime, endTime, timezone }, mine }) {
  if (!timezone) return null;
  const theirs = slot(startTime, endTime, timezone);
  if (!theirs) return html`<span class="theirs"><${Text}>${timezone}<//></span>`;
  const same = theirs.day === mine.day && theirs.hours === mine.hours;
  return html`<span class="theirs" title=${t('their_time')}>${same ? '' : `${theirs.day === mine.day ? '' : `${theirs.day}, `}${theirs.hours} `}${zoneName(timezone)}</span>`;
}

/** The status, and whether it was moved and from when. */
export function Marks({ proposal }) {
  const move = proposal.history.findLast((entry) => entry.what === 'moved');
  const from = move?.from && slot(move.from.startTime, move.from.endTime, VIEWER_ZONE);
  return html`<span class="marks"><${Pill} value=${proposal.status} />
    ${move && html`<span class="tag moved" title=${from ? t('moved_from', { when: `${from.day}, ${from.hours}` }) : null}>${t('moved')}</span>`}</span>`;
}

/** Who it is with, once known. */
export function With({ proposal }) {
  const prospect = prospectById(proposal.prospectId).value;
  if (!prospect) return html`<span class="muted">…</span>`;
  return html`<${Text}>${fullName(prospect)}<//>${prospect.company && html`<span class="muted"> · <${Text}>${prospect.company}<//></span>`}`;
}

export function Where({ location }) {
  if (!location?.value) return null;
  return html`<p class="where"><${Icon} name="pin" /><${Place} value=${location.value} /></p>`;
}

/** Why it is off: who canceled and what they said. */
export function Why({ proposal }) {
  const { cancellation, status } = proposal;
  if (status !== 'canceled' || !cancellation) return null;
  return html`<p class="why">${cancellation.name ? html`${t('canceled_by')} <${Text}>${cancellation.name}<//>` : t('canceled')}
    ${cancellation.reason && html`: <${Text}>${cancellation.reason}<//>`}</p>`;
}

/** Accept, and reject with a reason. `more` stands beside the buttons. */
export function Answer({ proposal, more }) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  const { appointmentId: id, status } = proposal;
  const part = usePartOf('li');

  async function answer(action, body) {
    setBusy(true);
    setError(null);
    try {
      const { body: changed } = await write('POST', `/api/proposals/${encodeURIComponent(id)}/${action}`, body);
      show('proposal', changed);
      setAsking(false);
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  }

  const canReject = status === 'pending' || status === 'accepted';
  if (asking && canReject) {
    return html`<${Reject} part=${part} busy=${busy} error=${error} onCancel=${() => setAsking(false)} onReject=${(reason) => answer('reject', reason ? { reason } : {})} />`;
  }
  if (!canReject && !more) return null;
  return html`<div class="actions" ref=${part}>
    ${status === 'pending' && html`<${Button} kind="primary" icon="check" label=${t('accept')} data-action="accept" busy=${busy} onClick=${() => answer('accept', {})} />`}
    ${canReject && html`<${Button} label=${t('reject')} data-action="reject" busy=${busy} onClick=${() => setAsking(true)} />`}
    ${more}
    <p class="error" role="alert">${error && explain(error)}</p></div>`;
}

function Reject({ part, busy, error, onCancel, onReject }) {
  const submit = (event) => {
    event.preventDefault();
    if (!busy) onReject(event.currentTarget.elements.reason.value.trim());
  };
  const leave = (event) => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    onCancel();
  };
  return html`<form class="reject" ref=${part} onSubmit=${submit} onKeyDown=${leave}>
    <label class="field"><span>${t('reject.reason')}</span>
      <textarea name="reason" rows="2" maxLength="2000" ref=${focusOnce}></textarea></label>
    <div class="actions"><button class="button danger" type="submit" data-action="reject-now" aria-disabled=${busy ? 'true' : null}>${t('reject')}</button>
      <${Button} label=${t('cancel')} kind="quiet" onClick=${onCancel} /></div>
    <p class="error" role="alert">${error && explain(error)}</p></form>`;
}
