// The first run: where Calendly's webhooks go, and a sample booking to see the bell ring.

import { useEffect, useState } from 'preact/hooks';
import { usePartOf } from '../focus.js';
import { explain, t } from '../i18n.js';
import { read, write } from '../session.js';
import { counts, isAdmin } from '../store.js';
import { untilItWorks } from '../sync.js';
import { toast } from '../toasts.js';
import { Button, Copy, html, Icon, isSample } from '../ui.js';

export function FirstRun() {
  const part = usePartOf('main');
  return html`<section class="first-run" ref=${part} data-testid="empty" aria-labelledby="empty-heading">
    <div class="hero"><${Icon} name="bell" /><h1 id="empty-heading">${t('first.title')}</h1><p>${t(isAdmin.value ? 'first.lead' : 'first.lead.member')}</p></div>
    ${isAdmin.value && html`<${Setup} />`}</section>`;
}

function Setup() {
  const [setup, setSetup] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  // With each connection comes another count, and a server that was started again may have a key.
  useEffect(() => {
    let wanted = true;
    untilItWorks(async () => {
      const { body } = await read('/api/setup');
      if (wanted) setSetup(body);
    }, () => wanted);
    return () => { wanted = false; };
  }, [counts.value]);
  const ring = async () => {
    setBusy(true);
    setError(null);
    try {
      await write('POST', '/api/samples', {});
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  if (!setup) return null;
  const keyless = setup.signingKeys === 0;
  return html`<ol class="todo">
    <li data-done=${String(!keyless)}><h2>${t('first.key')}</h2><p>${t(keyless ? 'first.key.long' : 'first.key.done', { n: setup.signingKeys })}</p>
      ${keyless && html`<${Copy} text="BOOKBELL_CALENDLY_SIGNING_KEYS=$(openssl rand -hex 32) bookbell serve" label=${t('first.key.copy')} />`}</li>
    <li><h2>${t('first.url')}</h2><p>${t('first.url.long')}</p><${Copy} text=${setup.webhookUrl} label=${t('first.url.copy')} testid="webhook-url" /></li>
    <li><h2>${t('first.sample')}</h2><p>${t('first.sample.long')}</p>
      <${Button} kind="primary" icon="bell" label=${t('first.sample.send')} busy=${busy} data-action="sample" onClick=${ring} />
      <p class="error" role="alert">${error && explain(error)}</p></li>
  </ol>`;
}

/** Says that there are samples among the records, and takes them away again. */
export function SampleBar({ list }) {
  const part = usePartOf('main');
  const [busy, setBusy] = useState(false);
  list.version.value;
  if (!isAdmin.value || !list.items.slice(0, 200).some(isSample)) return null;
  const clear = async () => {
    setBusy(true);
    try {
      await write('DELETE', '/api/samples');
    } catch (error) {
      toast(t('sample.failed'), [explain(error)]);
    } finally {
      setBusy(false);
    }
  };
  return html`<div class="sample-bar" ref=${part} role="note"><p>${t('sample.bar')}</p><${Button} label=${t('sample.remove')} busy=${busy} data-action="remove-samples" onClick=${clear} /></div>`;
}
