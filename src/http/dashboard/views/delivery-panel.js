// One delivery: verdict, timings, what it changed, headers and the body as it came.

import { useEffect, useState } from 'preact/hooks';
import { clock } from '../clock.js';
import { usePanel } from '../focus.js';
import { duration, exactly, toTheMillisecond } from '../format.js';
import { explain, t, word } from '../i18n.js';
import { bind } from '../keys.js';
import { seenHere, UNSURE_MS } from '../screen.js';
import { read, write } from '../session.js';
import { go, href } from '../store.js';
import { Button, html, Pill } from '../ui.js';

export function DeliveryPanel({ id, onChanged }) {
  const [delivery, setDelivery] = useState(null);
  const [error, setError] = useState(null);
  const [verdict, setVerdict] = useState(null);
  const [busy, setBusy] = useState(false);
  const box = usePanel(id);
  const path = `/api/deliveries/${encodeURIComponent(id)}`;
  const load = async () => {
    const { body } = await read(path);
    setDelivery(body);
    return body;
  };
  const close = () => go('deliveries');
  useEffect(() => { load().catch(setError); }, [id]);
  useEffect(() => bind('Escape', close), []);

  async function replay() {
    setBusy(true);
    setError(null);
    try {
      const { body } = await write('POST', `${path}/replay`, {});
      setVerdict(body);
      onChanged(await load());
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  }

  return html`<aside class="panel wide" ref=${box} tabIndex="-1" data-testid="panel" aria-label=${t('delivery')}>
    <header class="panel-head"><div><div><h2><code dir="auto">${delivery?.event ?? t('delivery')}</code></h2><p class="muted">${delivery && exactly(delivery.receivedAt)}</p></div></div>
      <${Button} icon="close" iconOnly kind="quiet" label=${t('close')} data-action="close" onClick=${close} /></header>
    <div class="panel-body">
      <p class="error" role="alert">${error && explain(error)}</p>
      ${delivery && html`<${Verdict} delivery=${delivery} busy=${busy} onReplay=${replay} answer=${verdict} />
        <${Timings} delivery=${delivery} />
        <section class="block"><h3>${t('headers')}</h3><dl class="facts mono">${Object.entries(delivery.headers).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>
        <section class="block"><h3>${t('body')}</h3>${delivery.body === null ? html`<p class="muted">${t('body.none')}</p>` : html`<pre tabIndex="0" data-testid="body" aria-label=${t('body')}>${pretty(delivery)}</pre>`}</section>`}
    </div></aside>`;
}

function Verdict({ delivery, busy, onReplay, answer }) {
  const { status, reason, prospectId, proposalId } = delivery;
  return html`<div class="verdict"><${Pill} value=${status} />${reason && html`<p>${word('reason', reason)}<br /><span class="muted">${t(`reason.${reason}.long`)}</span></p>`}</div>
    ${(prospectId || proposalId) && html`<p class="changed">${t('changed')} ${prospectId && html`<a href=${href('prospects', prospectId)}>${t('changed.prospect')}</a>`}${proposalId && html`, <a href=${href('prospects', prospectId)}>${t('changed.proposal')}</a>`}</p>`}
    ${status !== 'rejected' && html`<div class="actions"><${Button} kind=${status === 'quarantined' ? 'primary' : ''} label=${t(status === 'quarantined' ? 'release' : 'replay')} busy=${busy} data-action="replay" onClick=${onReplay} /></div>`}
    <p role="status" data-testid="replayed">${answer && t('replayed', { verdict: word('status', answer.status) })}</p>`;
}

/** From the last byte that arrived to the commit, and to this very screen where it was open at the time. */
function Timings({ delivery }) {
  const { timings, receivedAt, signedAt } = delivery;
  const seen = seenHere([delivery.proposalId, delivery.prospectId], Date.parse(receivedAt));
  // The screen's time is this machine's, the others are the server's: shown once the two can be compared.
  const [compared, setCompared] = useState(clock.uncertainty <= UNSURE_MS);
  useEffect(() => { if (seen && !compared) clock.settle(UNSURE_MS).then(() => setCompared(clock.uncertainty <= UNSURE_MS)); }, [seen]);
  const steps = timings ? [
    ['verified', timings.verifiedUs], ['taken', timings.takenUs - timings.verifiedUs], ['folded', timings.foldedUs - timings.takenUs],
    ...(seen && compared ? [['shown', Math.max(0, (seen + clock.offset - Date.parse(receivedAt)) * 1_000 - timings.foldedUs)]] : []),
  ] : [];
  const all = steps.reduce((sum, [, us]) => sum + us, 0) || 1;
  return html`<section class="block"><h3>${t('timings')}</h3>
    ${steps.length > 0 && html`<ol class="steps">${steps.map(([key, us]) => html`<li key=${key}><span>${t(`timings.${key}`)}</span><span class="step"><span class="step-bar" data-step=${key} style=${{ width: `${Math.max(1, (us / all) * 100)}%` }}></span></span><span>${duration(us / 1_000)}</span></li>`)}</ol>`}
    <dl class="facts"><div><dt>${t('signed')}</dt><dd>${signedAt ? toTheMillisecond(signedAt) : '–'}</dd></div><div><dt>${t('received')}</dt><dd>${toTheMillisecond(receivedAt)}</dd></div>
    ${timings && html`<div><dt>${t('batch')}</dt><dd>${timings.batchSize}</dd></div>`}</dl></section>`;
}

/** JSON with its lines indented; anything else as it came. Shown as text, whatever it says. */
function pretty({ body, bodyEncoding }) {
  if (bodyEncoding === 'base64') return body;
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
