// The form to sign in, and why one has to do it again.

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { explain, t } from '../i18n.js';
import { change, settings } from '../settings.js';
import { notice } from '../store.js';
import { Logo, html, Select } from '../ui.js';

/** Kept while the page is open: who comes back after a session's end need not type it again. */
let lastEmail = '';

export function Login({ onSignIn }) {
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const email = useRef(null);
  const password = useRef(null);
  // Before the form is shown: later it would take the focus from who types already.
  useLayoutEffect(() => { (lastEmail ? password : email).current.focus(); }, []);

  async function submit(event) {
    event.preventDefault();
    if (busy) return;
    lastEmail = email.current.value.trim();
    setBusy(true);
    setError(null);
    try {
      await onSignIn(lastEmail, password.current.value);
    } catch (problem) {
      setError(problem);
      setBusy(false);
      password.current.focus();
      password.current.select();
    }
  }

  return html`<main class="sign-in">
    <form data-testid="login-form" method="post" action="/api/auth/login" onSubmit=${submit}>
      <${Logo} size=${44} />
      <h1>${t('login.title')}</h1>
      ${notice.value && html`<p class="notice" role="status">${t(notice.value)}</p>`}
      <label class="field"><span>${t('field.email')}</span>
        <input ref=${email} name="email" type="email" autocomplete="username" autocapitalize="none" spellcheck=${false}
          required defaultValue=${lastEmail} /></label>
      <label class="field"><span>${t('login.password')}</span>
        <input ref=${password} name="password" type="password" autocomplete="current-password" required
          aria-invalid=${String(Boolean(error))} aria-describedby="login-error" /></label>
      <p id="login-error" class="error" role="alert">${error && explain(error)}</p>
      <button class="button primary" type="submit">${t(busy ? 'login.busy' : 'login.submit')}</button>
    </form>
    <${Select} label=${t('settings.language')} hideLabel value=${settings.value.language}
      options=${languages()} onChange=${(language) => change({ language })} />
  </main>`;
}

export function languages() {
  return [['auto', t('settings.auto')], ['en', 'English'], ['fr', 'Français']];
}
